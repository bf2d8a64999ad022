// DIN: the candidate attends to the items of the user's history; the weighted sum (no softmax) goes
// into a deep tower. Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD
// 2018. The attention unit reads [q, k, q - k, q * k]; its first layer is linear, so it is computed
// as (Wq + Wd) q once per row, (Wk - Wd) k once per distinct item and Wp (q * k) once per event.
// Histories are packed: nothing is padded.
//
// The tower reads the item fields that histories have too, the attended history, all other fields
// that are not pooled histories, and the context.
//
//   B rows   N events   U distinct items   G item fields of a history   D width   A = G D
#include <algorithm>
#include <string>

#include <ATen/ops/cat.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>

#include "models/model.h"
#include "nn/history.h"
#include "nn/mlp.h"

namespace llmcf::models {

class Din final : public CtrModel {
 public:
  // din:
  //   attention: [64, 16]             # widths of the attention unit's layers before its score
  //   last_attention_activation: none # relu: also between the last of them and the score | none,
  //                                   # as published
  struct Options {
    std::vector<int64_t> attention = {64, 16};
    bool last_activation = false;

    static Options from(const Config& config) {
      Options options;
      options.attention = config.get<std::vector<int64_t>>("attention", options.attention);
      if (options.attention.empty()) config.fail("attention", "needs at least one width");
      for (const int64_t width : options.attention)
        if (width < 1) config.fail("attention", "a width is positive");
      options.last_activation =
          config.get_choice("last_attention_activation", "none", {"none", "relu"}) == "relu";
      return options;
    }
  };
  static constexpr BackboneNeeds kNeeds = {.history = true, .init = nn::InitKind::kXavier};

  Din(const Options& options, const BackboneSpec& spec) : options_(options) {
    const int64_t A = static_cast<int64_t>(spec.sequence_fields.size()) * spec.embed_dim;
    for (size_t f = 0; f < spec.roles.size(); ++f) {
      const auto field = static_cast<int>(f);
      const bool item = std::find(spec.sequence_fields.begin(), spec.sequence_fields.end(),
                                  field) != spec.sequence_fields.end();
      if (item) {
        item_fields_.push_back(field);
      } else if (spec.roles[f] != FieldRole::kHistory) {
        other_fields_.push_back(field);
      }
    }
    int64_t width = 4 * A;
    for (const int64_t next : options.attention) {
      attention.push_back(register_module("attention" + std::to_string(attention.size()),
                                          torch::nn::Linear(width, next)));
      width = next;
    }
    score = register_module("score", torch::nn::Linear(width, 1));
    const auto kept = static_cast<int64_t>(other_fields_.size());
    std::vector<int64_t> sizes = {2 * A + kept * spec.embed_dim + spec.context_dim};
    sizes.insert(sizes.end(), spec.mlp.begin(), spec.mlp.end());
    sizes.push_back(1);
    tower = register_module("tower", nn::Mlp(nn::MlpOptions{.sizes = sizes,
                                                            .dropout = spec.dropout,
                                                            .last_activation = false,
                                                            .input_dropout = false}));
  }

  torch::Tensor forward(const Features& features) override {
    const torch::Tensor query = selected(features.fields, item_fields_);   // [B, A]
    const torch::Tensor items = features.history_items.flatten(1);         // [U, A]
    const torch::Tensor weights = attend(query, items, features.history);  // [N]
    std::vector<torch::Tensor> parts = {query,
                                        nn::weighted_items(features.history, weights, items)};
    if (!other_fields_.empty()) parts.push_back(selected(features.fields, other_fields_));
    if (features.context.defined()) parts.push_back(features.context);
    return tower->forward(at::cat(parts, 1)).squeeze(1);
  }

  std::vector<torch::nn::Linear> attention;  // attention0 (4A -> ...), attention1, ...
  torch::nn::Linear score = nullptr;
  nn::Mlp tower = nullptr;

 private:
  // [B, F, D] -> [B, fields * D]
  static torch::Tensor selected(const torch::Tensor& all, const std::vector<int64_t>& fields) {
    const auto count = static_cast<int64_t>(fields.size());
    if (fields.back() - fields.front() + 1 == count)  // the usual case: neighbours, no copy
      return all.narrow(1, fields.front(), count).flatten(1);
    return all.index_select(1, torch::tensor(fields)).flatten(1);
  }

  torch::Tensor attend(const torch::Tensor& query, const torch::Tensor& items,
                       const nn::Histories& histories) {
    const auto part = attention.front()->weight.chunk(4, 1);  // of q, k, q - k, q * k
    torch::Tensor hidden = nn::event_relu_sums(
        histories, at::linear(nn::event_products(histories, query, items), part[3]),
        at::linear(query, part[0] + part[2], attention.front()->bias),
        at::linear(items, part[1] - part[2]));
    for (size_t i = 1; i < attention.size(); ++i) {
      hidden = attention[i]->forward(hidden);
      if (i + 1 < attention.size() || options_.last_activation) hidden = hidden.relu_();
    }
    return score->forward(hidden).squeeze(1);
  }

  Options options_;
  std::vector<int64_t> item_fields_, other_fields_;
};

LLMCF_CTR_MODEL(din, Din)

}  // namespace llmcf::models
