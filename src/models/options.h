// What the experimenter decides about a model: section `model` of a run file. No libtorch in here.
//
//   model:
//     backbone: deepfm            # a file of models/ctr
//     embed_dim: 32
//     mlp: [200, 80]              # the backbone's deep tower
//     dropout: 0.1
//     deepfm: {...}               # the backbone's own options, below its name
//     context: ict                # none | text | concat | ict | ict_wocot | mean | kar
//     text_map: [256, 32]         # frozen text [W] -> ... -> token
//     token_map: [128, 32]        # a sample's parts -> ... -> feature token
//     ict:                        # ict/in_context_module.h
//       module: told              # told (strict) | published (paper): the defaults of the next
//                                 # five keys and of `alignment` for ict, ict_wocot and mean
//       layers: 1                 # published: 2
//       evidence: true            # published: false
//       tokens: merged            # published: separate
//       residual: true            # published: false
//       cot_map: shared           # shared | own: a map of their own for chains of thought, which
//                                 # they need where they have an encoder of their own
//       reconstruction_weight: 0.5   # published: 1.0
//       heads: 2
//       hidden: 0
//       reconstruction_map: [256]
//     kar: {shared_experts: 4, specific_experts: 3, map: [128, embed_dim / 2], dropout: 0.1}
//     alignment: true             # the context is told how close history and target are;
//                                 # false unless `module: told`
//     gate: none                  # none | similarity: a learned gate on what examples give
//     distillation: {weight: 0.0, temperature: 1.0}
//     init: default               # default | xavier: what the backbone asks for when absent
//     linear_bias: trained        # trained (strict) | fixed (paper)
//     loss: logits                # logits (strict) | probabilities (paper)
//     padding: zero               # zero (strict) | decayed (paper)
//
// With a sequence backbone (a file of models/seq) mlp, kar, alignment, gate, distillation,
// linear_bias and loss as above have no place; embed_dim is 64, both maps [64], reconstruction_map
// [] at first, and there are
//     loss: softmax               # softmax (strict) | sampled (paper) | in_batch | bpr | gbce
//     targets: every              # every (strict, where the backbone can) | last (paper)
//     negatives: 128              # of sampled, bpr and gbce
//     calibration: 0.75           # of gbce
//     fusion: add                 # add | concat: how a context joins the state
//     context_weight: 0.1         # of add
//     user_ids: false             # a vector per user beside the history (paper: true)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"

namespace llmcf::models {

// Where the context vector that a backbone reads beside its fields comes from.
enum class ContextKind {
  kNone,           // no context
  kText,           // the query's own feature token, no examples
  kConcat,         // mean of the mapped chains of thought of the row's examples
  kIct,            // in-context chain-of-thought module
  kIctWithoutCot,  // the same without chain-of-thought tokens
  kMean,           // mean of the module's input tokens
  kKar,            // hybrid-expert adaptor over two reasoning vectors (KAR)
};

// Names as in the run file.
std::string_view context_name(ContextKind kind);
// Whether the kind reads examples (Batch::slot).
bool uses_examples(ContextKind kind);
// Whether the kind reads frozen item and history texts.
bool uses_text(ContextKind kind);
// Whether the kind reads frozen chain-of-thought vectors.
bool uses_cot(ContextKind kind);

// What a sequence model is trained for. See models/sequence_objective.h.
enum class NextItemLoss { kSoftmax, kSampled, kInBatch, kBpr, kGbce };

// Only for sequence backbones.
struct SequenceOptions {
  NextItemLoss loss = NextItemLoss::kSoftmax;
  bool every_position = true;  // every item of a history is a target; else only a row's own
  int64_t negatives = 128;     // uniform, shared by the batch; for sampled, bpr and gbce
  double calibration = 0.75;   // t of gbce, in [0, 1]
  bool concat_fusion = false;  // how a context joins the state; else it is added
  double context_weight = 0.1;
  // Contexts and backbones that read users get a learned vector of the user. It can hold a user's
  // training targets, which no other user's history tells it apart from: hence not by default.
  bool user_ids = false;
  int64_t catalogue = 0;  // items that can be recommended; the model sets it
};

struct ModelOptions {
  // Changes results.
  std::string backbone = "deepfm";
  int64_t embed_dim = 32;
  std::vector<int64_t> mlp = {200, 80};
  double dropout = 0.1;
  Config backbone_options = Config::parse("");  // section named like the backbone

  ContextKind context = ContextKind::kNone;
  std::vector<int64_t> text_map = {256, 32};   // hidden widths, then the token's
  std::vector<int64_t> token_map = {128, 32};  // hidden widths, then the token's
  int64_t ict_layers = 2;
  int64_t ict_heads = 2;
  int64_t ict_hidden = 0;              // 0 = round_up(floor(4/3 width), 32), the paper's
  double reconstruction_weight = 1.0;  // 0 = no reconstruction; only `ict` has one
  std::vector<int64_t> reconstruction_map = {256};  // hidden widths
  bool ict_evidence = false;     // tokens are told what retrieval knows of their example
  bool ict_merged = false;       // one token per example instead of three
  bool ict_own_cot_map = false;  // chains of thought are not mapped by the texts' map
  bool ict_residual = false;     // query token + gate * what the examples give

  int64_t kar_shared_experts = 4;
  int64_t kar_specific_experts = 3;
  std::vector<int64_t> kar_map = {128, 16};
  double kar_dropout = 0.1;

  bool alignment = false;  // needs a context; models/alignment.h
  bool gated = false;      // a learned gate on the context; only for contexts that read examples

  double distillation_weight = 0.0;  // 0 = no teacher; else batches carry teacher_logits
  double distillation_temperature = 1.0;

  SequenceOptions sequence;

  std::string init;  // "" = the backbone's own, "default", "xavier"

  // Protocol switches. Defaults are protocol strict.
  bool paper = false;                      // what the backbone's own switches default to
  bool trains_linear_bias = true;          // false: a fixed random constant
  bool loss_on_probabilities = false;      // true: on float32 probabilities, log clamped at -100
  bool decays_padding = false;             // true: row 0 may hold values and is decayed
  std::optional<float> fixed_linear_bias;  // the fixed one; empty = drawn from N(0, 1) by the seed

  // `config` is section `model`; `protocol` ("strict" or "paper") sets the switches' defaults.
  // Unknown keys, also below a backbone's name, are errors. Throws InputError.
  static ModelOptions from(const Config& config, const std::string& protocol);
};

// Whether the backbone reads histories item by item (FeatureSpec::sequence_fields).
bool reads_histories(const ModelOptions& options);

// Whether the context reads what retrieval knows of each slot (Batch::slot_features).
bool reads_slot_features(const ModelOptions& options);

// Whether the model reads what the retrieve stage writes: examples or alignments.
bool uses_retrieval(const ModelOptions& options);

// The click backbones there are, sorted; the sequence backbones.
std::vector<std::string> backbone_names();
std::vector<std::string> sequence_backbone_names();
std::vector<std::string> all_backbone_names();
bool is_sequence_backbone(std::string_view name);
// Whether the sequence backbone reads SequenceBatch::graphs.
bool reads_session_graphs(const ModelOptions& options);

}  // namespace llmcf::models
