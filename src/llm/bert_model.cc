#include "llm/bert_model.h"

#include <cmath>
#include <limits>

#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "llm/checkpoint.h"

namespace llmcf::llm {

namespace {

using Json = nlohmann::json;

int64_t size_of(const Json& json, const char* key, const std::string& file) {
  if (!json.contains(key) || !json[key].is_number_integer() || json[key].get<int64_t>() < 1)
    throw InputError(file, 0, fmt::format("'{}' is missing or no positive number", key));
  return json[key].get<int64_t>();
}

}  // namespace

BertConfig BertConfig::load(const std::filesystem::path& directory) {
  const auto path = directory / "config.json";
  const std::string file = path.string();
  if (!std::filesystem::exists(path))
    throw InputError(directory.string(), 0, "holds no config.json");
  Json json;
  try {
    json = Json::parse(read_file(path));
  } catch (const Json::exception& error) {
    throw InputError(file, 0, fmt::format("not JSON: {}", error.what()));
  }
  if (const auto type = json.value("model_type", std::string()); type != "bert")
    throw InputError(file, 0, unknown_name("model_type", type, {"bert"}));
  if (const auto act = json.value("hidden_act", std::string("gelu")); act != "gelu")
    throw InputError(file, 0, unknown_name("hidden_act", act, {"gelu"}));
  if (const auto kind = json.value("position_embedding_type", std::string("absolute"));
      kind != "absolute")
    throw InputError(file, 0, unknown_name("position_embedding_type", kind, {"absolute"}));
  const auto size = [&](const char* key) { return size_of(json, key, file); };
  BertConfig config{.hidden = size("hidden_size"),
                    .intermediate = size("intermediate_size"),
                    .layers = size("num_hidden_layers"),
                    .heads = size("num_attention_heads"),
                    .vocabulary = size("vocab_size"),
                    .positions = size("max_position_embeddings"),
                    .types = size("type_vocab_size"),
                    .norm_epsilon = json.value("layer_norm_eps", 1e-12)};
  if (config.hidden % config.heads != 0)
    throw InputError(
        file, 0, fmt::format("{} heads do not divide a width of {}", config.heads, config.hidden));
  return config;
}

BertModel BertModel::load(const std::filesystem::path& directory, torch::Dtype dtype,
                          torch::Device device) {
  BertModel model;
  model.config_ = BertConfig::load(directory);
  const BertConfig& c = model.config_;
  const Checkpoint checkpoint(directory);
  const std::string prefix =
      checkpoint.contains("bert.embeddings.word_embeddings.weight") ? "bert." : "";
  const auto options = torch::TensorOptions(dtype).device(device);
  const auto read = [&](const std::string& name, std::vector<int64_t> shape) {
    torch::Tensor tensor = at::empty(shape, options);
    checkpoint.read(prefix + name, tensor);
    model.weights_[name] = tensor;
  };
  const auto read_linear = [&](const std::string& name, int64_t out, int64_t in) {
    read(name + ".weight", {out, in});
    read(name + ".bias", {out});
  };
  const auto read_norm = [&](const std::string& name) {
    read(name + ".weight", {c.hidden});
    read(name + ".bias", {c.hidden});
  };
  read("embeddings.word_embeddings.weight", {c.vocabulary, c.hidden});
  read("embeddings.position_embeddings.weight", {c.positions, c.hidden});
  read("embeddings.token_type_embeddings.weight", {c.types, c.hidden});
  read_norm("embeddings.LayerNorm");
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = fmt::format("encoder.layer.{}.", i);
    for (const char* part : {"query", "key", "value"})
      read_linear(layer + "attention.self." + part, c.hidden, c.hidden);
    read_linear(layer + "attention.output.dense", c.hidden, c.hidden);
    read_norm(layer + "attention.output.LayerNorm");
    read_linear(layer + "intermediate.dense", c.intermediate, c.hidden);
    read_linear(layer + "output.dense", c.hidden, c.intermediate);
    read_norm(layer + "output.LayerNorm");
  }
  return model;
}

torch::Tensor BertModel::linear(const std::string& name, const torch::Tensor& x) const {
  return at::linear(x, weights_.at(name + ".weight"), weights_.at(name + ".bias"));
}

torch::Tensor BertModel::norm(const std::string& name, const torch::Tensor& x) const {
  return at::layer_norm(x, {config_.hidden}, weights_.at(name + ".weight"),
                        weights_.at(name + ".bias"), config_.norm_epsilon);
}

torch::Tensor BertModel::states(const torch::Tensor& ids, const torch::Tensor& mask) const {
  const int64_t B = ids.size(0), T = ids.size(1), H = config_.heads, d = config_.hidden / H;
  if (T > config_.positions)
    throw Error(
        fmt::format("a text of {} tokens; the encoder knows {} positions", T, config_.positions));
  const torch::Tensor places = at::arange(T, ids.options());
  torch::Tensor x = at::embedding(weights_.at("embeddings.word_embeddings.weight"), ids) +
                    at::embedding(weights_.at("embeddings.position_embeddings.weight"), places) +
                    weights_.at("embeddings.token_type_embeddings.weight")[0];
  x = norm("embeddings.LayerNorm", x);
  const torch::Tensor hidden_keys = (mask == 0).view({B, 1, 1, T});
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string layer = fmt::format("encoder.layer.{}.", i);
    const auto heads = [&](const char* part) {
      return linear(layer + "attention.self." + part, x).view({B, T, H, d}).transpose(1, 2);
    };
    const torch::Tensor scores = at::matmul(heads("query"), heads("key").transpose(2, 3)) /
                                 std::sqrt(static_cast<double>(d));
    const torch::Tensor weights =
        at::softmax(scores.masked_fill(hidden_keys, -std::numeric_limits<double>::infinity()), -1);
    const torch::Tensor read =
        at::matmul(weights, heads("value")).transpose(1, 2).reshape({B, T, config_.hidden});
    x = norm(layer + "attention.output.LayerNorm",
             x + linear(layer + "attention.output.dense", read));
    const torch::Tensor inner = at::gelu(linear(layer + "intermediate.dense", x));
    x = norm(layer + "output.LayerNorm", x + linear(layer + "output.dense", inner));
  }
  return x;
}

torch::Tensor BertModel::pooled(const torch::Tensor& states, const torch::Tensor& mask,
                                Pooling pooling) {
  const torch::Tensor wide = states.to(torch::kFloat);
  torch::Tensor vectors;
  if (pooling == Pooling::kFirst) {
    vectors = wide.select(1, 0);
  } else {
    const torch::Tensor kept = mask.to(torch::kFloat).unsqueeze(2);
    vectors = (wide * kept).sum(1) / kept.sum(1).clamp_min(1);
  }
  return vectors / vectors.norm(2, 1, true).clamp_min(1e-12);
}

}  // namespace llmcf::llm
