#include "text/model2vec.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <Eigen/Core>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "core/safetensors.h"
#include "core/threads.h"

namespace llmcf::text {

namespace {

constexpr const char* kFiles[] = {"config.json", "tokenizer.json", "model.safetensors"};

// A tensor of any floating or integer type, as floats.
std::vector<float> floats(const SafetensorsReader& reader, const std::string& name) {
  const TensorView& view = reader.tensor(name);
  const auto count = static_cast<size_t>(view.elements());
  std::vector<float> values(count);
  const auto convert = [&]<typename T>(const T&) {
    for (size_t at = 0; at < count; ++at) {
      T value;
      std::memcpy(&value, view.data + at * sizeof(T), sizeof(T));
      values[at] = static_cast<float>(value);
    }
  };
  switch (view.dtype) {
    case Dtype::kF64:
      convert(double{});
      break;
    case Dtype::kF32:
      convert(float{});
      break;
    case Dtype::kF16:
      convert(Eigen::half{});
      break;
    case Dtype::kBF16:
      convert(Eigen::bfloat16{});
      break;
    case Dtype::kI8:
      convert(int8_t{});
      break;
    default:
      throw InputError(
          reader.path().string(), 0,
          fmt::format("tensor '{}' has type {}; F64, F32, F16, BF16 or I8 is supported", name,
                      dtype_name(view.dtype)));
  }
  return values;
}

std::vector<int32_t> integers(const SafetensorsReader& reader, const std::string& name) {
  const TensorView& view = reader.tensor(name);
  if (view.dtype == Dtype::kI32) {
    const auto values = reader.get<int32_t>(name);
    return {values.begin(), values.end()};
  }
  const auto values = reader.get<int64_t>(name);
  return {values.begin(), values.end()};
}

}  // namespace

Model2Vec Model2Vec::load(const std::filesystem::path& directory, int64_t max_tokens) {
  for (const char* file : kFiles) {
    if (!std::filesystem::exists(directory / file))
      throw InputError((directory / file).string(), 0,
                       "missing; a model2vec directory has config.json, tokenizer.json and "
                       "model.safetensors");
  }
  if (max_tokens < 0) throw Error(fmt::format("model2vec: max_tokens is {}; 0 = all", max_tokens));
  Model2Vec model(Tokenizer::load(directory / "tokenizer.json"));
  model.directory_ = directory;
  model.max_tokens_ = max_tokens;
  model.read_tensors();
  Hasher hasher;
  for (const char* file : kFiles)
    hasher.add_field(hash_file(directory / file));
  hasher.add_field(std::to_string(max_tokens));
  model.fingerprint_ = "model2vec:" + hasher.hex();
  model.name_ = "model2vec-" + std::to_string(model.dim_);
  return model;
}

void Model2Vec::read_tensors() {
  const SafetensorsReader reader(directory_ / "model.safetensors");
  const auto fail = [&](const std::string& reason) {
    throw InputError(reader.path().string(), 0, reason);
  };
  const TensorView& view = reader.tensor("embeddings");
  if (view.shape.size() != 2 || view.shape[0] < 1 || view.shape[1] < 1)
    fail("tensor 'embeddings' must be a matrix [rows, dim]");
  dim_ = view.shape[1];
  embeddings_ = floats(reader, "embeddings");
  const auto tokens = static_cast<size_t>(tokenizer_.size());
  if (reader.contains("mapping")) {
    rows_ = integers(reader, "mapping");
  } else {
    rows_.resize(static_cast<size_t>(view.shape[0]));
    for (size_t token = 0; token < rows_.size(); ++token)
      rows_[token] = static_cast<int32_t>(token);
  }
  weights_ = reader.contains("weights") ? floats(reader, "weights")
                                        : std::vector<float>(rows_.size(), 1.0F);
  if (rows_.size() < tokens || weights_.size() != rows_.size())
    fail(fmt::format("the tokenizer has {} tokens, the model {} rows and {} weights", tokens,
                     rows_.size(), weights_.size()));
  for (const int32_t row : rows_)
    if (row < 0 || row >= view.shape[0])
      fail(fmt::format("mapping to row {} of {}", row, view.shape[0]));
  if (tokenizer_.unknown_id()) rows_[static_cast<size_t>(*tokenizer_.unknown_id())] = -1;
}

void Model2Vec::save(const std::filesystem::path& directory) const {
  std::filesystem::create_directories(directory);
  for (const char* file : kFiles)
    if (!std::filesystem::exists(directory / file) ||
        !std::filesystem::equivalent(directory_ / file, directory / file))
      write_file(directory / file, MappedFile(directory_ / file).text());
}

void Model2Vec::encode_one(std::string_view text, std::span<float> out) const {
  std::vector<double> sum(out.size(), 0.0);
  int64_t used = 0;
  for (const int32_t id : tokenizer_.encode(text)) {
    const int32_t row = rows_[static_cast<size_t>(id)];
    if (row < 0) continue;
    if (max_tokens_ > 0 && used == max_tokens_) break;
    ++used;
    const float* vector = embeddings_.data() + static_cast<int64_t>(row) * dim_;
    const double weight = static_cast<double>(weights_[static_cast<size_t>(id)]);
    for (size_t column = 0; column < sum.size(); ++column)
      sum[column] += weight * static_cast<double>(vector[column]);
  }
  double square = 0.0;
  for (const double value : sum)
    square += value * value;
  const double scale = square > 0.0 ? 1.0 / std::sqrt(square) : 0.0;
  for (size_t column = 0; column < sum.size(); ++column)
    out[column] = static_cast<float>(sum[column] * scale);
}

void Model2Vec::encode(std::span<const std::string_view> texts, std::span<float> out) const {
  const auto width = static_cast<size_t>(dim_);
  LLMCF_ASSERT(out.size() == texts.size() * width);
  constexpr int64_t kTextsAtOnce = 32;
  parallel_chunks(static_cast<int64_t>(texts.size()), kTextsAtOnce,
                  [&](int64_t begin, int64_t end, int) {
                    for (auto at = static_cast<size_t>(begin); at < static_cast<size_t>(end); ++at)
                      encode_one(texts[at], out.subspan(at * width, width));
                  });
}

}  // namespace llmcf::text
