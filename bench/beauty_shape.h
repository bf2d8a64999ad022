// A made-up shop of Amazon Beauty's size, which the benchmarks of serving share; each sets the
// widths of its own model.
#pragma once

#include "serve/toy_bundle.h"

namespace llmcf::bench {

inline serve::ToyOptions beauty_shape() {
  return {.users = 22363,
          .items = 12101,
          .examples = 26304,
          .history = 9,
          .brands = 2000,
          .clusters = 300,
          .folds = 1,
          .k = 8,
          .neighbours = 256};
}

}  // namespace llmcf::bench
