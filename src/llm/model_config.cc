#include "llm/model_config.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::llm {

namespace {

using Json = nlohmann::json;

constexpr int64_t kLargest = int64_t{1} << 31;

// Reads keys of one file; errors name it and the key.
class Reader {
 public:
  Reader(const Json& json, std::string file) : json_(json), file_(std::move(file)) {}

  [[noreturn]] void fail(const std::string& reason) const { throw InputError(file_, 0, reason); }

  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }

  template <typename T>
  T get(const char* key, T fallback) const {
    if (!has(key)) return fallback;
    try {
      return json_[key].get<T>();
    } catch (const Json::exception&) {
      fail(fmt::format("'{}' is {}, which is of another kind than expected", key,
                       json_[key].dump()));
    }
  }

  int64_t size(const char* key, std::optional<int64_t> fallback = {}) const {
    if (!has(key) && !fallback) fail(fmt::format("has no '{}'", key));
    const auto value = get<int64_t>(key, fallback.value_or(0));
    if (value < 1 || value > kLargest)
      fail(fmt::format("'{}' is {}, expected 1 to {}", key, value, kLargest));
    return value;
  }

  std::vector<int32_t> ids(const char* key) const {
    if (!has(key)) return {};
    return json_[key].is_array() ? get<std::vector<int32_t>>(key, {})
                                 : std::vector<int32_t>{get<int32_t>(key, -1)};
  }

 private:
  const Json& json_;
  std::string file_;
};

std::string architecture_of(const Reader& reader, const Json& json) {
  static const std::vector<std::string> kKnown = {"LlamaForCausalLM", "MistralForCausalLM",
                                                  "Qwen2ForCausalLM"};
  std::string name;
  if (json.contains("architectures") && json["architectures"].is_array() &&
      json["architectures"].size() == 1 && json["architectures"][0].is_string())
    name = json["architectures"][0];
  if (std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end())
    reader.fail(unknown_name("architecture", name, kKnown));
  return name;
}

std::optional<RopeScaling> scaling_of(const Reader& reader, const Json& json) {
  if (!reader.has("rope_scaling")) return std::nullopt;
  const Json& part = json["rope_scaling"];
  const std::string type = part.value("rope_type", part.value("type", std::string()));
  if (type == "default") return std::nullopt;
  if (type != "llama3")
    reader.fail(fmt::format("rope_scaling '{}' is not supported; known: default, llama3", type));
  RopeScaling scaling{
      .factor = part.value("factor", 8.0),
      .low = part.value("low_freq_factor", 1.0),
      .high = part.value("high_freq_factor", 4.0),
      .original_positions = part.value("original_max_position_embeddings", int64_t{8192})};
  if (!(scaling.factor >= 1 && scaling.low > 0 && scaling.high > scaling.low &&
        scaling.original_positions > 0))
    reader.fail(fmt::format("rope_scaling {} makes no sense", part.dump()));
  return scaling;
}

}  // namespace

ModelConfig ModelConfig::load(const std::filesystem::path& directory) {
  const auto file = directory / "config.json";
  if (!std::filesystem::exists(file))
    throw InputError(directory.string(), 0,
                     "holds no config.json: expected a model directory in the Hugging Face layout");
  Json json;
  try {
    json = Json::parse(read_file(file));
  } catch (const Json::exception& error) {
    throw InputError(file.string(), 0, fmt::format("not JSON: {}", error.what()));
  }
  const Reader reader(json, file.string());
  ModelConfig config;
  config.architecture = architecture_of(reader, json);
  if (const auto act = reader.get<std::string>("hidden_act", "silu"); act != "silu")
    reader.fail(fmt::format("hidden_act '{}' is not supported; known: silu", act));
  config.hidden = reader.size("hidden_size");
  config.intermediate = reader.size("intermediate_size");
  config.layers = reader.size("num_hidden_layers");
  config.heads = reader.size("num_attention_heads");
  config.kv_heads = reader.size("num_key_value_heads", config.heads);
  config.head_width = reader.size("head_dim", std::max<int64_t>(1, config.hidden / config.heads));
  config.vocabulary = reader.size("vocab_size");
  config.max_positions = reader.size("max_position_embeddings", 2048);
  if (config.heads % config.kv_heads != 0)
    reader.fail(fmt::format("{} attention heads do not share {} key/value heads evenly",
                            config.heads, config.kv_heads));
  if (config.head_width % 2 != 0)
    reader.fail(
        fmt::format("a head is {} wide; rotary positions need an even width", config.head_width));
  config.norm_epsilon = reader.get("rms_norm_eps", 1e-6);
  config.rope_theta = reader.get("rope_theta", 10000.0);
  config.rope_scaling = scaling_of(reader, json);
  const bool qwen = config.architecture == "Qwen2ForCausalLM";
  config.tied = reader.get("tie_word_embeddings", false);
  config.output_bias = reader.get("attention_bias", false);
  config.qkv_bias = qwen || config.output_bias;
  config.mlp_bias = reader.get("mlp_bias", false);
  const bool slides = config.architecture == "MistralForCausalLM" ||
                      (qwen && reader.get("use_sliding_window", false));
  if (slides) config.sliding_window = reader.get<int64_t>("sliding_window", 0);
  if (const auto begin = reader.ids("bos_token_id"); !begin.empty()) config.begin_id = begin[0];
  config.end_ids = reader.ids("eos_token_id");
  config.source = std::move(json);
  return config;
}

int64_t ModelConfig::parameters() const {
  const int64_t q = heads * head_width, kv = kv_heads * head_width;
  int64_t layer = hidden * (2 * q + 2 * kv) + 3 * hidden * intermediate + 2 * hidden;
  if (qkv_bias) layer += q + 2 * kv;
  if (output_bias) layer += hidden;
  if (mlp_bias) layer += 2 * intermediate + hidden;
  return layers * layer + hidden + vocabulary * hidden * (tied ? 1 : 2);
}

}  // namespace llmcf::llm
