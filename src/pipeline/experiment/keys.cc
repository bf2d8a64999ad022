#include "pipeline/experiment/keys.h"

#include <filesystem>
#include <set>

#include "core/hash.h"

namespace llmcf::pipeline::experiment {

namespace {

// Dotted paths of keys that do not change a result.
const std::set<std::string>& data_left_out() {
  static const std::set<std::string> keys = {"path",  "interactions", "items",
                                             "users", "schema",       "name"};
  return keys;
}

const std::set<std::string>& reason_left_out() {
  static const std::set<std::string> keys = {"budget",
                                             "concurrency",
                                             "retry",
                                             "max_failures",
                                             "prompt",
                                             "user_prompt",
                                             "item_prompt",
                                             "endpoint.url",
                                             "endpoint.api_key_env",
                                             "endpoint.prices",
                                             "endpoint.timeout_ms",
                                             "endpoint.stream"};
  return keys;
}

// A prompt is a built-in name or a file, whose content counts.
std::string prompt_text(const Config& section, const std::string& key) {
  const auto name = section.get<std::string>(key, "");
  const std::filesystem::path file = section.directory() / name;
  std::error_code error;
  if (name.empty() || !std::filesystem::is_regular_file(file, error)) return name;
  return hash_file(file);
}

}  // namespace

std::string rows_key(const RunConfig& config) {
  return config.protocol + config.data.canonical(data_left_out()) + config.split.canonical() +
         config.encode.canonical({"path"});
}

std::string reasoner_key(const RunConfig& config) {
  std::string key = config.reason.canonical(reason_left_out());
  for (const char* prompt : {"prompt", "user_prompt", "item_prompt"})
    key += "|" + prompt_text(config.reason, prompt);
  return key;
}

std::string examples_key(const RunConfig& config) {
  return reasoner_key(config) + config.pool.canonical() + config.teach.canonical({"prompt"}) +
         prompt_text(config.teach, "prompt") + config.retrieve.canonical();
}

}  // namespace llmcf::pipeline::experiment
