#include "models/model.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include "core/error.h"

namespace llmcf::models {

// models/ctr_list.inc, written by CMake, has one row MODEL(stem) per file of models/ctr.
#define MODEL(stem) CtrEntry ctr_entry_##stem();
#include "models/ctr_list.inc"
#undef MODEL

const std::vector<CtrEntry>& ctr_models() {
  static const std::vector<CtrEntry> entries = {
#define MODEL(stem) ctr_entry_##stem(),
#include "models/ctr_list.inc"
#undef MODEL
  };
  return entries;
}

bool reads_histories(const ModelOptions& options) {
  return !is_sequence_backbone(options.backbone) && ctr_model(options.backbone).needs.history;
}

std::vector<std::string> backbone_names() {
  std::vector<std::string> names;
  for (const CtrEntry& entry : ctr_models())
    names.emplace_back(entry.name);
  return names;
}

const CtrEntry& ctr_model(std::string_view name) {
  for (const CtrEntry& entry : ctr_models())
    if (entry.name == name) return entry;
  throw Error(unknown_name("backbone", name, backbone_names()));
}

torch::Tensor concatenated(const Features& features) {
  const torch::Tensor flat = features.fields.flatten(1);
  return features.context.defined() ? at::cat({flat, features.context}, 1) : flat;
}

torch::nn::Linear register_context_projection(torch::nn::Module& module, const BackboneSpec& spec) {
  if (spec.context_dim == 0 || spec.context_dim == spec.embed_dim) return nullptr;
  return module.register_module("context_projection",
                                torch::nn::Linear(spec.context_dim, spec.embed_dim));
}

torch::Tensor fields_with_context(const Features& features, torch::nn::Linear& projection) {
  if (!features.context.defined()) return features.fields;
  const torch::Tensor field =
      projection.is_empty() ? features.context : projection->forward(features.context);
  return at::cat({features.fields, field.unsqueeze(1)}, 1);
}

torch::Tensor register_bias(torch::nn::Module& module, const std::optional<float>& fixed) {
  const torch::Tensor bias = at::full({1}, fixed.value_or(0.0F), at::kFloat);
  return fixed ? module.register_buffer("bias", bias) : module.register_parameter("bias", bias);
}

}  // namespace llmcf::models
