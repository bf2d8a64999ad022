// What a published bundle says about itself: everything of the trained run that is no tensor. One
// JSON object in the bundle's metadata, written by `publish`, read when a bundle is opened. No
// libtorch.
//
//   F fields   D embedding width   K slots   V width of the retrieval vectors
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/batch.h"
#include "retrieval/options.h"
#include "serve/history_scan.h"

namespace llmcf::serve {

inline constexpr const char* kBundleFormat = "llmcf.bundle";
inline constexpr const char* kBundleVersion = "2";

// Where a field's values come from. Names in the JSON: user_id, item_id, column, number.
enum class ValueKind { kUserId, kItemId, kColumn, kNumber };

struct BundleField {
  // Table -1: known of items, for filters, and not read by the model. Such fields come last.
  models::FieldSpec spec;
  ValueKind kind = ValueKind::kItemId;
  // A history field pools the values of this item field over the history; other fields: -1.
  int item_field = -1;
  // A sample without a value reads row 0 (protocol paper) instead of nothing.
  bool pads = false;
};

// What the in-context module is made of that its weights do not show.
struct BundleContext {
  std::string kind = "none";  // models/options.h: none, text, concat, ict, ict_wocot, mean, kar
  int64_t heads = 2;
  bool merged = false;    // one token per example instead of three
  bool residual = false;  // the query's token + gate * the hidden state
  bool evidence = false;  // tokens are told what retrieval knows of their example
  bool alignment = false;
  bool gated = false;

  bool in_context() const { return kind == "ict" || kind == "ict_wocot" || kind == "mean"; }
  bool reads_text() const { return in_context() || kind == "text"; }
  bool reads_cot() const { return kind == "ict" || kind == "mean" || kind == "concat"; }
  bool reads_examples() const { return in_context() || kind == "concat"; }
  bool uses_retrieval() const { return reads_examples() || alignment; }
};

// What a sequence model is made of that its weights do not show.
struct BundleSequence {
  bool user_ids = false;       // contexts and backbones read a vector of the user
  bool concat_fusion = false;  // how a context joins the state; else it is added
  double context_weight = 0;   // of a context that is added
};

struct BundleSpec {
  std::string name;     // of the run
  std::string variant;  // of the run
  int64_t seed = 0;
  std::string created;                                  // UTC, ISO 8601
  std::string made_by;                                  // version of the program
  std::string data_version;                             // digest of the data set
  bool paper = false;                                   // protocol: paper
  std::vector<std::pair<std::string, double>> metrics;  // of the test split

  std::string backbone;
  std::string backbone_options;  // YAML: the backbone's section
  int64_t embed_dim = 0;         // D
  BundleContext context;
  // Absent: a click model, which scores pairs. Present: items are scored by inner product with the
  // state of a history.
  std::optional<BundleSequence> sequence;
  std::vector<models::TableSpec> tables;
  std::vector<BundleField> fields;   // [F]
  std::vector<int> sequence_fields;  // item fields that a backbone reads item by item
  int64_t history_length = 20;       // the last items that count: as features, as a sequence
  int64_t text_dim = 0;

  int64_t users = 0;
  int64_t items = 0;
  int64_t examples = 0;
  retrieval::RetrievalOptions retrieval;
  int64_t folds = 1;            // sets of retrieval vectors; users belong to one each
  int64_t retrieval_width = 0;  // V; 0 = no retrieval
  int64_t neighbours = 0;       // longest static list of an item
  ScanOptions scan;             // whether every example is read for a request
  double collaborative = 0;     // share of the log in retrieval vectors, retrieval/collaborative.h
  int64_t log_end = 0;          // Unix seconds of the newest event that histories hold
  std::string reasoners;        // who wrote the chains of thought
  std::string encoder;          // fingerprint; empty = no encoder in the bundle
  int64_t newest_example = 0;   // Unix seconds

  // Slot features (models::slot_feature_count).
  int64_t slot_features() const;

  std::string to_json() const;
  // Throws Error naming the key that is missing or has no known value.
  static BundleSpec from_json(const std::string& text);
};

}  // namespace llmcf::serve
