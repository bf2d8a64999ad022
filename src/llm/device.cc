#include "llm/device.h"

#include <ATen/Context.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::llm {

torch::Device device_named(const std::string& name) {
  if (name == "auto")
    return at::hasCUDA() ? torch::Device(torch::kCUDA) : torch::Device(torch::kCPU);
  if (name == "cpu") return torch::kCPU;
  if (name == "cuda" || name.starts_with("cuda:")) {
    if (!at::hasCUDA())
      throw Error(fmt::format("device '{}': there is no usable CUDA device", name));
    return torch::Device(name);
  }
  throw Error(unknown_name("device", name, {"auto", "cpu", "cuda"}));
}

torch::Dtype dtype_named(const std::string& name, torch::Device device) {
  if (name == "auto") return device.is_cpu() ? torch::kFloat : torch::kBFloat16;
  if (name == "float32") return torch::kFloat;
  if (name == "bfloat16") return torch::kBFloat16;
  if (name == "float16") return torch::kHalf;
  throw Error(unknown_name("dtype", name, {"auto", "float32", "bfloat16", "float16"}));
}

ChatTemplate chat_template_of(const std::string& name, const std::filesystem::path& model,
                              const text::LanguageTokenizer& tokenizer) {
  if (name != "auto") return chat_template(name);
  const std::filesystem::path file = model / "tokenizer_config.json";
  std::string written;
  if (std::filesystem::exists(file)) {
    try {
      const auto json = nlohmann::json::parse(read_file(file));
      if (json.contains("chat_template") && json["chat_template"].is_string())
        written = json["chat_template"].get<std::string>();
    } catch (const nlohmann::json::exception& error) {
      throw InputError(file.string(), 0, fmt::format("not JSON: {}", error.what()));
    }
  }
  const auto says = [&](std::string_view mark) { return written.find(mark) != std::string::npos; };
  if (says("<|im_start|>") || tokenizer.special("<|im_start|>")) return ChatTemplate::kChatml;
  if (says("<|start_header_id|>") || tokenizer.special("<|start_header_id|>"))
    return ChatTemplate::kLlama3;
  return says("[INST]") ? ChatTemplate::kLlama2 : ChatTemplate::kPlain;
}

}  // namespace llmcf::llm
