// The encoder `bert` over a tiny model with random weights: what it gives is what the model gives
// for its tokens, whatever is beside a text; saving, fingerprints, mistakes.
#include "llm/bert_encoder.h"

#include <cmath>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/ones_like.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "core/safetensors.h"
#include "llm/bert_model.h"
#include "text/tokenizer.h"

namespace llmcf::llm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::HasSubstr;

constexpr int64_t kWidth = 16, kInner = 24, kPositions = 24;

// [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, then letters, and letters within words.
Json tokenizer_json(const std::string& without = "") {
  Json vocab = Json::object();
  int id = 0;
  for (const std::string name : {"[PAD]", "[UNK]", "[CLS]", "[SEP]"})
    vocab[name == without ? "[other]" : name] = id++;
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    vocab[std::string(1, letter)] = id++;
    vocab[std::string("##") + letter] = id++;
  }
  return {{"normalizer", {{"type", "BertNormalizer"}, {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"vocab", vocab}}}};
}

void write_tiny_bert(const fs::path& directory, uint64_t seed = 1) {
  fs::create_directories(directory);
  write_file(directory / "tokenizer.json", tokenizer_json().dump());
  write_file(directory / "config.json", Json{{"model_type", "bert"},
                                             {"hidden_size", kWidth},
                                             {"intermediate_size", kInner},
                                             {"num_hidden_layers", 2},
                                             {"num_attention_heads", 2},
                                             {"vocab_size", 60},
                                             {"max_position_embeddings", kPositions},
                                             {"type_vocab_size", 2},
                                             {"hidden_act", "gelu"}}
                                            .dump());
  Random random(seed, "tiny bert");
  SafetensorsWriter writer;
  std::vector<std::unique_ptr<std::vector<float>>> kept;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t size : shape)
      count *= size;
    auto values = std::make_unique<std::vector<float>>();
    for (int64_t i = 0; i < count; ++i)
      values->push_back(static_cast<float>(0.3 * random.normal()));
    writer.add<float>(name, shape, *values);
    kept.push_back(std::move(values));
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    add(name + ".weight", {out, in});
    add(name + ".bias", {out});
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {kWidth});
    add(name + ".bias", {kWidth});
  };
  add("embeddings.word_embeddings.weight", {60, kWidth});
  add("embeddings.position_embeddings.weight", {kPositions, kWidth});
  add("embeddings.token_type_embeddings.weight", {2, kWidth});
  norm("embeddings.LayerNorm");
  for (int i = 0; i < 2; ++i) {
    const std::string layer = fmt::format("encoder.layer.{}.", i);
    for (const char* part : {"query", "key", "value"})
      linear(layer + "attention.self." + part, kWidth, kWidth);
    linear(layer + "attention.output.dense", kWidth, kWidth);
    norm(layer + "attention.output.LayerNorm");
    linear(layer + "intermediate.dense", kInner, kWidth);
    linear(layer + "output.dense", kWidth, kInner);
    norm(layer + "output.LayerNorm");
  }
  fs::remove(directory / "model.safetensors");
  writer.write(directory / "model.safetensors");
}

class BertEncoding : public ::testing::Test {
 protected:
  void SetUp() override { write_tiny_bert(place_); }
  BertEncoderOptions options() const { return {.path = place_, .device = "cpu"}; }
  static std::vector<float> encode(const text::Encoder& encoder,
                                   const std::vector<std::string_view>& texts) {
    std::vector<float> out(texts.size() * static_cast<size_t>(encoder.dim()), 7.0F);
    encoder.encode(texts, out);
    return out;
  }
  static void expect_near(const std::vector<float>& a, const std::vector<float>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i)
      ASSERT_NEAR(a[i], b[i], 2e-6) << i;
  }
  static std::string failure(const BertEncoderOptions& options) {
    try {
      const BertEncoder encoder(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryDirectory directory_;
  fs::path place_ = directory_.path() / "tiny";
};

TEST_F(BertEncoding, GivesWhatTheModelGivesForItsTokens) {
  const torch::NoGradGuard no_gradients;
  const BertModel model = BertModel::load(place_, torch::kFloat, torch::kCPU);
  const auto tokenizer = text::Tokenizer::load(place_ / "tokenizer.json");
  std::vector<int64_t> ids = {2};
  for (const int32_t id : tokenizer.encode("Red shoe!"))
    ids.push_back(id);
  ids.push_back(3);
  ASSERT_EQ(ids.size(), 10U) << "seven letters and one unknown between [CLS] and [SEP]";
  const torch::Tensor row = at::from_blob(ids.data(), {1, 10}, torch::kLong);
  for (const auto& [name, pooling] :
       {std::pair("cls", Pooling::kFirst), {"mean", Pooling::kMean}}) {
    BertEncoderOptions one = options();
    one.pooling = name;
    const torch::Tensor want =
        BertModel::pooled(model.states(row, at::ones_like(row)), at::ones_like(row), pooling);
    expect_near(encode(BertEncoder(one), {"Red shoe!"}),
                {want.data_ptr<float>(), want.data_ptr<float>() + kWidth});
  }
}

TEST_F(BertEncoding, DoesNotDependOnWhatIsBeside) {
  std::vector<std::string> texts;
  for (int i = 0; i < 40; ++i)
    texts.push_back(i % 7 == 3 ? ""
                               : std::string(static_cast<size_t>(1 + (i * 5) % 30), 'a' + i % 26));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  for (const int64_t batch_tokens : {1, 60, 4096}) {
    BertEncoderOptions one = options();
    one.batch_tokens = batch_tokens;
    const BertEncoder encoder(one);
    const auto together = encode(encoder, views);
    for (size_t i = 0; i < views.size(); ++i) {
      const std::vector<float> own(together.begin() + static_cast<int64_t>(i) * kWidth,
                                   together.begin() + static_cast<int64_t>(i + 1) * kWidth);
      expect_near(own, encode(encoder, {views[i]}));
      double norm = 0;
      for (const float value : own)
        norm += static_cast<double>(value) * value;
      EXPECT_NEAR(norm, views[i].empty() ? 0 : 1, 1e-5);
    }
  }
}

TEST_F(BertEncoding, CutsLongTextsAndPutsThePrefixFirst) {
  const BertEncoder plain(options());
  // 24 positions: 22 words of one letter between [CLS] and [SEP].
  std::string letters;
  for (char letter = 'a'; letter <= 'z'; ++letter)
    letters += std::string(1, letter) + " ";
  expect_near(encode(plain, {letters}), encode(plain, {letters.substr(0, 2 * 22)}));
  EXPECT_NE(encode(plain, {letters}), encode(plain, {letters.substr(0, 2 * 21)}));
  BertEncoderOptions cut = options();
  cut.max_tokens = 6;
  expect_near(encode(BertEncoder(cut), {letters}), encode(plain, {"a b c d"}));
  BertEncoderOptions prefixed = options();
  prefixed.prefix = "passage ";
  const BertEncoder with(prefixed);
  expect_near(encode(with, {"red"}), encode(plain, {"passage red"}));
  EXPECT_EQ(encode(with, {" "}), std::vector<float>(kWidth, 0.0F)) << "a prefix is no text";
}

TEST_F(BertEncoding, PoolsAsItsFilesSay) {
  BertEncoderOptions cls = options(), mean = options();
  cls.pooling = "cls";
  mean.pooling = "mean";
  const auto first = encode(BertEncoder(cls), {"red"}),
             average = encode(BertEncoder(mean), {"red"});
  EXPECT_NE(first, average);
  EXPECT_EQ(encode(BertEncoder(options()), {"red"}), average) << "nothing is said";
  fs::create_directories(place_ / "1_Pooling");
  const auto says = [&](bool is_cls, bool is_mean) {
    fs::remove(place_ / "1_Pooling/config.json");
    write_file(
        place_ / "1_Pooling/config.json",
        Json{{"pooling_mode_cls_token", is_cls}, {"pooling_mode_mean_tokens", is_mean}}.dump());
  };
  says(true, false);
  EXPECT_EQ(encode(BertEncoder(options()), {"red"}), first);
  says(false, true);
  EXPECT_EQ(encode(BertEncoder(options()), {"red"}), average);
  says(true, true);
  EXPECT_THAT(failure(options()), HasSubstr("'pooling'"));
}

TEST_F(BertEncoding, IsReopenedWhereItStaysAndKnownByContent) {
  const text::OutsideKind kind = {
      .name = "bert",
      .check = [](const Config& section) { BertEncoderOptions::from(section); },
      .make =
          [](const Config& section) {
            return std::make_unique<BertEncoder>(BertEncoderOptions::from(section));
          }};
  const Config section = Config::parse(
      fmt::format("{{kind: bert, path: '{}', prefix: 'say: ', device: cpu}}", place_.string()));
  const auto encoder = text::make_encoder(section, {}, &kind);
  EXPECT_EQ(encoder->name(), "bert:tiny");
  const fs::path saved = directory_.path() / "saved";
  text::save_encoder(*encoder, saved);
  const auto again = text::load_encoder(saved, &kind);
  EXPECT_EQ(again->fingerprint(), encoder->fingerprint());
  EXPECT_EQ(encode(*again, {"red"}), encode(*encoder, {"red"}));
  EXPECT_THROW(text::load_encoder(saved), InputError) << "without the kind";
  write_tiny_bert(place_, 2);
  try {
    text::load_encoder(saved, &kind);
    FAIL() << "other weights";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("do not belong together"));
  }
}

TEST_F(BertEncoding, IdentityFollowsWhatVectorsDependOn) {
  const std::string before = BertEncoder::identity(options());
  EXPECT_EQ(BertEncoder(options()).fingerprint(), before);
  BertEncoderOptions other = options();
  other.batch_tokens = 7;
  EXPECT_EQ(BertEncoder::identity(other), before) << "speed only";
  other.max_tokens = kPositions;
  EXPECT_EQ(BertEncoder::identity(other), before) << "said or not";
  other.prefix = "query: ";
  EXPECT_NE(BertEncoder::identity(other), before);
  other = options();
  other.pooling = "cls";
  EXPECT_NE(BertEncoder::identity(other), before);
  other = options();
  other.max_tokens = 9;
  EXPECT_NE(BertEncoder::identity(other), before);
  write_tiny_bert(place_, 2);
  EXPECT_NE(BertEncoder::identity(options()), before);
}

TEST_F(BertEncoding, MistakesAreNamed) {
  BertEncoderOptions wrong = options();
  wrong.max_tokens = 100;
  EXPECT_THAT(failure(wrong), HasSubstr("24 positions"));
  wrong = options();
  wrong.path = directory_.path() / "nowhere";
  EXPECT_THAT(failure(wrong), HasSubstr("nowhere"));
  EXPECT_THROW(BertEncoderOptions::from(Config::parse("{kind: bert, path: x, pooling: max}")),
               Error);
  EXPECT_THROW(BertEncoderOptions::from(Config::parse("{path: x, max_tokens: 2}")), Error);
  fs::remove(place_ / "tokenizer.json");
  EXPECT_THAT(failure(options()), HasSubstr("tokenizer.json"));
  write_file(place_ / "tokenizer.json", tokenizer_json("[SEP]").dump());
  EXPECT_THAT(failure(options()), HasSubstr("[SEP]"));
}

}  // namespace
}  // namespace llmcf::llm
