// What a sequence backbone sees and returns, and the list of those there are. It turns a user's
// history into a vector; items are scored by inner product with it. Adding a backbone is adding one
// file to models/seq whose last line is LLMCF_SEQUENCE_MODEL(<the file's stem>, <the class>).
//
//   S sequences   N tokens   R samples   D embedding width
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <torch/nn/module.h>
#include <torch/types.h>

#include "core/config.h"
#include "models/options.h"
#include "models/sequence_batch.h"
#include "nn/init.h"

namespace llmcf::models {

struct SequenceFeatures {
  const SequenceBatch& batch;  // alive until the backward pass
  torch::Tensor items;         // [N, D] embedded tokens; zeros for an empty history's
  torch::Tensor nodes;         // [M, D] embedded nodes; only for backbones that read graphs
  torch::Tensor users;         // [R, D]; undefined without SequenceOptions::user_ids
  torch::Tensor reads;         // int32 [R]
};

struct SequenceStates {
  torch::Tensor state;  // [R, D], in the space of the item table
  // [R, D] what a sample's token says of its history (LLM-CF). Undefined = the state.
  torch::Tensor summary = {};
};

// What a backbone is told when it is made.
struct SequenceSpec {
  int64_t embed_dim = 0;       // D
  int64_t history_length = 0;  // tokens of a sequence at most
  double dropout = 0.1;
  bool users = false;  // SequenceFeatures::users is there
};

// What a backbone asks of the batch and of the defaults.
struct SequenceNeeds {
  bool every_position = false;  // has a state at every token; else one per sequence
  bool graphs = false;
  bool users = false;          // reads the user's own embedding where there is one
  bool concat_fusion = false;  // the published way in which a context joins the state
  nn::InitKind paper_init = nn::InitKind::kXavier;
};

class SequenceModel : public torch::nn::Module {
 public:
  virtual SequenceStates forward(const SequenceFeatures& features) = 0;
};

// One file of models/seq.
struct SequenceEntry {
  std::string_view name;
  std::shared_ptr<SequenceModel> (*make)(const Config& options, const SequenceSpec& spec);
  void (*check)(const Config& options);  // throws InputError on a bad or unknown key
  SequenceNeeds needs;
};

// Sorted by name.
const std::vector<SequenceEntry>& sequence_models();
// Throws Error that names the nearest and the known ones.
const SequenceEntry& sequence_model(std::string_view name);

}  // namespace llmcf::models

// Makes the entry of file `stem`. The class has a nested Options with `static Options from(const
// Config&)`, a constructor (const Options&, const SequenceSpec&) and a static constexpr
// SequenceNeeds kNeeds.
#define LLMCF_SEQUENCE_MODEL(stem, Class)                                                          \
  SequenceEntry sequence_entry_##stem() {                                                          \
    return {#stem,                                                                                 \
            [](const Config& config, const SequenceSpec& spec) -> std::shared_ptr<SequenceModel> { \
              return std::make_shared<Class>(Class::Options::from(config), spec);                  \
            },                                                                                     \
            [](const Config& config) {                                                             \
              Class::Options::from(config);                                                        \
              config.finish();                                                                     \
            },                                                                                     \
            Class::kNeeds};                                                                        \
  }
