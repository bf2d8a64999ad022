#include "llm/bert_encoder.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "llm/bert_model.h"
#include "llm/device.h"
#include "llm/engine.h"
#include "text/tokenizer.h"

namespace llmcf::llm {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// What sentence-transformers wrote beside the model, if it did.
std::optional<Json> side_file(const fs::path& file) {
  if (!fs::exists(file)) return std::nullopt;
  try {
    return Json::parse(read_file(file));
  } catch (const Json::exception& error) {
    throw InputError(file.string(), 0, fmt::format("not JSON: {}", error.what()));
  }
}

Pooling pooling_of(const BertEncoderOptions& options) {
  if (options.pooling == "cls") return Pooling::kFirst;
  if (options.pooling == "mean") return Pooling::kMean;
  const fs::path file = options.path / "1_Pooling" / "config.json";
  const std::optional<Json> json = side_file(file);
  if (!json) return Pooling::kMean;
  const auto says = [&](const char* key) { return json->is_object() && json->value(key, false); };
  const bool first = says("pooling_mode_cls_token"), mean = says("pooling_mode_mean_tokens");
  if (first == mean)
    throw InputError(file.string(), 0,
                     "asks for neither or both of cls and mean pooling; set 'pooling' to cls or "
                     "mean if one of them is right");
  return first ? Pooling::kFirst : Pooling::kMean;
}

int64_t max_tokens_of(const BertEncoderOptions& options, const BertConfig& config) {
  if (options.max_tokens > config.positions)
    throw Error(fmt::format("encode: max_tokens is {}, the model in {} has {} positions",
                            options.max_tokens, options.path.string(), config.positions));
  if (options.max_tokens > 0) return options.max_tokens;
  const auto json = side_file(options.path / "sentence_bert_config.json");
  if (!json || !json->is_object() || !json->contains("max_seq_length") ||
      !(*json)["max_seq_length"].is_number_integer())
    return config.positions;
  return std::clamp<int64_t>((*json)["max_seq_length"].get<int64_t>(), 3, config.positions);
}

text::Tokenizer tokenizer_of(const fs::path& directory) {
  const fs::path file = directory / "tokenizer.json";
  if (!fs::exists(file))
    throw InputError(
        directory.string(), 0,
        "holds no tokenizer.json; vocab.txt alone is not enough (any fast tokenizer of "
        "the transformers library saves one)");
  return text::Tokenizer::load(file);
}

}  // namespace

BertEncoderOptions BertEncoderOptions::from(const Config& section) {
  BertEncoderOptions options;
  options.path = section.directory() / section.require<std::string>("path");
  options.pooling = section.get_choice("pooling", options.pooling, {"auto", "cls", "mean"});
  options.prefix = section.get<std::string>("prefix", "");
  options.max_tokens = section.get_int("max_tokens", 0, 0, 1 << 20);
  if (options.max_tokens == 1 || options.max_tokens == 2)
    section.fail("max_tokens", "leaves no room between [CLS] and [SEP]; 0 = the model's positions");
  options.batch_tokens = section.get_int("batch_tokens", options.batch_tokens, 1, 1 << 24);
  options.device = section.get<std::string>("device", options.device);
  options.dtype = section.get<std::string>("dtype", options.dtype);
  section.finish();
  return options;
}

struct BertEncoder::Impl {
  explicit Impl(const BertEncoderOptions& wanted)
      : options(wanted),
        device(device_named(wanted.device)),
        model(BertModel::load(wanted.path, dtype_named(wanted.dtype, device), device)),
        tokenizer(tokenizer_of(wanted.path)),
        pooling(pooling_of(wanted)),
        max_tokens(max_tokens_of(wanted, model.config())),
        first(special("[CLS]")),
        last(special("[SEP]")),
        padding(special("[PAD]")),
        fingerprint(identity(wanted)) {
    if (tokenizer.size() > model.config().vocabulary)
      throw InputError(
          (options.path / "tokenizer.json").string(), 0,
          fmt::format("has {} tokens, the model {}", tokenizer.size(), model.config().vocabulary));
  }

  int32_t special(const char* name) const {
    const std::optional<int32_t> id = tokenizer.id(name);
    if (!id)
      throw InputError((options.path / "tokenizer.json").string(), 0,
                       fmt::format("has no token {}: not a tokenizer of the BERT family", name));
    return *id;
  }

  // With [CLS] and [SEP]; empty for a text without a token.
  std::vector<int32_t> ids_of(std::string_view text) const {
    std::vector<int32_t> ids = tokenizer.encode(text);
    if (ids.empty()) return ids;
    if (!options.prefix.empty()) ids = tokenizer.encode(options.prefix + std::string(text));
    ids.resize(std::min(ids.size(), static_cast<size_t>(max_tokens - 2)));
    ids.insert(ids.begin(), first);
    ids.push_back(last);
    return ids;
  }

  // The vectors of texts [begin, end) of `order`, which are of similar length.
  void encode(const std::vector<std::vector<int32_t>>& texts, std::span<const size_t> order,
              std::span<float> out) const {
    const auto B = static_cast<int64_t>(order.size());
    const auto T = static_cast<int64_t>(texts[order.back()].size());
    torch::Tensor ids = at::full({B, T}, padding, torch::kLong);
    torch::Tensor mask = at::zeros({B, T}, torch::kLong);
    for (int64_t b = 0; b < B; ++b) {
      const auto& text = texts[order[static_cast<size_t>(b)]];
      std::copy(text.begin(), text.end(), ids.data_ptr<int64_t>() + b * T);
      std::fill_n(mask.data_ptr<int64_t>() + b * T, text.size(), 1);
    }
    const torch::Tensor there = mask.to(device);
    const torch::Tensor vectors =
        BertModel::pooled(model.states(ids.to(device), there), there, pooling).cpu().contiguous();
    const int64_t width = model.config().hidden;
    for (int64_t b = 0; b < B; ++b)
      std::copy_n(vectors.data_ptr<float>() + b * width, width,
                  out.data() + order[static_cast<size_t>(b)] * static_cast<size_t>(width));
  }

  BertEncoderOptions options;
  torch::Device device;
  BertModel model;
  text::Tokenizer tokenizer;
  Pooling pooling;
  int64_t max_tokens;
  int32_t first, last, padding;
  std::string fingerprint;
};

BertEncoder::BertEncoder(const BertEncoderOptions& options)
    : impl_(std::make_unique<Impl>(options)) {}
BertEncoder::~BertEncoder() = default;

std::string BertEncoder::identity(const BertEncoderOptions& options) {
  Hasher hasher;
  hasher.add_field(
      model_identity({.model = options.path, .device = options.device, .dtype = options.dtype}));
  hasher.add_field(options.prefix);
  hasher.add_field(fmt::format("{} {}", static_cast<int>(pooling_of(options)),
                               max_tokens_of(options, BertConfig::load(options.path))));
  return "bert:" + hasher.hex();
}

int64_t BertEncoder::dim() const {
  return impl_->model.config().hidden;
}

std::string BertEncoder::name() const {
  return "bert:" + fs::absolute(impl_->options.path).lexically_normal().filename().string();
}

std::string BertEncoder::fingerprint() const {
  return impl_->fingerprint;
}

std::string BertEncoder::section() const {
  const BertEncoderOptions& options = impl_->options;
  return Json{{"path", fs::absolute(options.path).lexically_normal().string()},
              {"pooling", options.pooling},
              {"prefix", options.prefix},
              {"max_tokens", options.max_tokens},
              {"batch_tokens", options.batch_tokens},
              {"device", options.device},
              {"dtype", options.dtype}}
      .dump();
}

void BertEncoder::encode(std::span<const std::string_view> texts, std::span<float> out) const {
  const torch::NoGradGuard no_gradients;
  LLMCF_ASSERT(out.size() == texts.size() * static_cast<size_t>(dim()));
  std::fill(out.begin(), out.end(), 0.0F);
  std::vector<std::vector<int32_t>> ids;
  std::vector<size_t> order;
  for (size_t i = 0; i < texts.size(); ++i) {
    ids.push_back(impl_->ids_of(texts[i]));
    if (!ids.back().empty()) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return ids[a].size() < ids[b].size(); });
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && static_cast<int64_t>((end + 1 - begin) * ids[order[end]].size()) <=
                                     impl_->options.batch_tokens)
      ++end;
    impl_->encode(ids, std::span(order).subspan(begin, end - begin), out);
    begin = end;
  }
}

}  // namespace llmcf::llm
