// What a click backbone sees and returns, and the list of backbones there are.
//
// A backbone sees features that are already embedded, so it knows neither ids on disk nor language
// models nor losses. What a context source (the in-context module, KAR, ...) made for the row
// arrives as one more dense vector, `context`; a run without one leaves it undefined and declares
// context_dim = 0. Adding a backbone is adding one file to models/ctr whose last line is
// LLMCF_CTR_MODEL(<the file's stem>, <the class>); CMake finds it and writes the list.
//
//   B queries   F fields   D embedding width   C context width
//   N events    U distinct items of the histories   G fields of an item of a history
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>

#include "core/config.h"
#include "models/batch.h"
#include "models/options.h"
#include "nn/history.h"
#include "nn/init.h"

namespace llmcf::models {

struct Features {
  torch::Tensor fields;       // [B, F, D] in the order of FeatureSpec::fields
  torch::Tensor first_order;  // [B] sum of the fields' first-order weights; zeros unless asked for
  torch::Tensor context;      // [B, C]; undefined when context_dim == 0
  // Only for backbones that ask for it: the histories item by item.
  torch::Tensor history_items;  // [U, G, D] in the order of BackboneSpec::sequence_fields
  nn::Histories history;        // which of them each query saw
};

// What a backbone is told when it is made. Its own options come from the section with its name.
struct BackboneSpec {
  int64_t num_fields = 0;                 // F
  int64_t embed_dim = 0;                  // D
  int64_t context_dim = 0;                // C; 0 = no context
  std::vector<FieldRole> roles;           // [F]
  std::vector<int> sequence_fields = {};  // [G] item fields (indices into F) of history_items
  std::vector<int64_t> mlp = {200, 80};
  double dropout = 0.1;
  // Protocol paper: the linear part's bias is this constant. Otherwise it is trained, from 0.
  std::optional<float> fixed_linear_bias = std::nullopt;
};

// What the rest of the run decides about the defaults of a backbone's own options.
struct BackboneDefaults {
  bool paper = false;  // protocol: paper
  ContextKind context = ContextKind::kNone;
};

// What a backbone asks of the features.
struct BackboneNeeds {
  bool first_order = false;
  bool history = false;  // histories item by item
  nn::InitKind init = nn::InitKind::kDefault;
};

// Predicts a click.
class CtrModel : public torch::nn::Module {
 public:
  // Returns float [B], the logit of a click on the target item.
  virtual torch::Tensor forward(const Features& features) = 0;
};

// One file of models/ctr.
struct CtrEntry {
  std::string_view name;
  std::shared_ptr<CtrModel> (*make)(const Config& options, const BackboneDefaults& defaults,
                                    const BackboneSpec& spec);
  // Throws InputError on a bad or unknown key.
  void (*check)(const Config& options, const BackboneDefaults& defaults);
  BackboneNeeds needs;
};

// Sorted by name.
const std::vector<CtrEntry>& ctr_models();
// Throws Error that names the nearest and the known ones.
const CtrEntry& ctr_model(std::string_view name);

// [B, F, D] -> [B, F * D], then the context if there is one: [B, F * D + C].
torch::Tensor concatenated(const Features& features);

// A backbone that treats the context as one more field: null if it is as wide as a field (or there
// is none), else a trained projection C -> D, registered as "context_projection".
torch::nn::Linear register_context_projection(torch::nn::Module& module, const BackboneSpec& spec);
// [B, F, D], or [B, F + 1, D] with the context as the last field.
torch::Tensor fields_with_context(const Features& features, torch::nn::Linear& projection);

// A logit's trainable or fixed scalar, registered as parameter or buffer "bias".
torch::Tensor register_bias(torch::nn::Module& module, const std::optional<float>& fixed);

template <typename Class>
typename Class::Options read_options(const Config& config, const BackboneDefaults& defaults) {
  if constexpr (requires { Class::Options::from(config, defaults); }) {
    return Class::Options::from(config, defaults);
  } else {
    return Class::Options::from(config);
  }
}

}  // namespace llmcf::models

// Makes the entry of file `stem`. The class has a nested Options with `static Options from(const
// Config&)` or `from(const Config&, const BackboneDefaults&)`, a constructor (const Options&, const
// BackboneSpec&) and a static constexpr BackboneNeeds kNeeds.
#define LLMCF_CTR_MODEL(stem, Class)                                                       \
  CtrEntry ctr_entry_##stem() {                                                            \
    return {#stem,                                                                         \
            [](const Config& config, const BackboneDefaults& defaults,                     \
               const BackboneSpec& spec) -> std::shared_ptr<CtrModel> {                    \
              return std::make_shared<Class>(read_options<Class>(config, defaults), spec); \
            },                                                                             \
            [](const Config& config, const BackboneDefaults& defaults) {                   \
              read_options<Class>(config, defaults);                                       \
              config.finish();                                                             \
            },                                                                             \
            Class::kNeeds};                                                                \
  }
