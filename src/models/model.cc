#include "models/model.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>

#include "core/error.h"
#include "models/options.h"

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

torch::Tensor register_bias(torch::nn::Module& module, const std::optional<float>& fixed) {
  const torch::Tensor bias = at::full({1}, fixed.value_or(0.0F), at::kFloat);
  return fixed ? module.register_buffer("bias", bias) : module.register_parameter("bias", bias);
}

}  // namespace llmcf::models
