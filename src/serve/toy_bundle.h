// A bundle of a made-up shop with random weights, of any size: for tests of what serves, and for
// benchmarks that want a published run's shape without its training. Item vectors are clustered, as
// real ones are. DeepFM; fields user_id, item_id, brand, when (a context field), hist_item_id,
// hist_brand. Or SASRec with two blocks, whose requests may filter by brand.
//
// Invariant: the same options give the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "serve/history_scan.h"

namespace llmcf::serve {

struct ToyOptions {
  int64_t users = 40;
  int64_t items = 60;
  int64_t examples = 300;
  int64_t history = 8;  // mean length
  int64_t brands = 7;
  int64_t clusters = 12;
  int64_t text_width = 16;
  int64_t log_width = 8;  // beside the text in retrieval vectors; 0 = none
  int64_t folds = 2;
  int64_t k = 8;
  int64_t neighbours = 16;
  ScanOptions scan = {};
  int64_t embed_dim = 8;
  int64_t tower[2] = {24, 12};
  int64_t text_hidden = 20, token_hidden = 24, token = 16;
  std::string context = "ict";  // none, text, kar or ict (the default module)
  // deepfm or sasrec; sasrec: tokens are as wide as embeddings, whatever `token` says.
  std::string backbone = "deepfm";
  int64_t history_length = 20;  // the last items that count
  int64_t first_item = 1;       // names are item-<first_item>, ...: two shops that share some
  uint64_t seed = 1;
};

// Names are user-1, user-2, ... and item-1, ... (unless first_item says otherwise); the title of
// item 5 is "brand-<b> thing 5".
void write_toy_bundle(const ToyOptions& options, const std::filesystem::path& path);

}  // namespace llmcf::serve
