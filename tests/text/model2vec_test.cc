// model2vec: the mean by hand, the reference's fixture, damaged directories.
#include "text/model2vec.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/safetensors.h"
#include "shared_data.h"

namespace llmcf::text {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

std::vector<float> encode(const Encoder& encoder, std::string_view text) {
  std::vector<float> out(static_cast<size_t>(encoder.dim()), -7.0F);
  encoder.encode({&text, 1}, out);
  return out;
}

// A plain model: one row per token, token i is the word "wi".
void write_model(const std::filesystem::path& directory, const std::vector<float>& rows,
                 int64_t width) {
  write_file(directory / "config.json", "{}");
  const Json vocab = {{"[UNK]", 0}, {"w1", 1}, {"w2", 2}, {"w3", 3}};
  write_file(directory / "tokenizer.json",
             Json{{"normalizer", {{"type", "Lowercase"}}},
                  {"pre_tokenizer", {{"type", "WhitespaceSplit"}}},
                  {"model", {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", vocab}}}}
                 .dump());
  SafetensorsWriter writer;
  writer.add<float>("embeddings", {static_cast<int64_t>(rows.size()) / width, width}, rows);
  writer.write(directory / "model.safetensors");
}

const std::vector<float> kRows = {9, 9, 3, 0, 0, 4, 1, 1};

TEST(Model2Vec, IsTheNormalisedMeanOfKnownTokens) {
  const TemporaryDirectory directory;
  write_model(directory.path(), kRows, 2);
  const Model2Vec model = Model2Vec::load(directory.path());
  EXPECT_EQ(model.dim(), 2);
  const std::vector<float> both = encode(model, "W1 w2");
  EXPECT_NEAR(both[0], 0.6F, 1e-6F);
  EXPECT_NEAR(both[1], 0.8F, 1e-6F);
  EXPECT_EQ(encode(model, "w1 nonsense w2"), both);  // unknown tokens are left out
  EXPECT_EQ(encode(model, ""), (std::vector<float>{0, 0}));
  EXPECT_EQ(encode(model, "nonsense"), (std::vector<float>{0, 0}));
  const Model2Vec first = Model2Vec::load(directory.path(), 1);
  EXPECT_EQ(encode(first, "nonsense w1 w2"), (std::vector<float>{1, 0}));
  EXPECT_NE(first.fingerprint(), model.fingerprint());
}

TEST(Model2Vec, TooFewRowsAreAnError) {
  const TemporaryDirectory directory;
  write_model(directory.path(), {1, 2, 3, 4}, 2);
  try {
    Model2Vec::load(directory.path());
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("4 tokens"));
  }
  EXPECT_THROW(Model2Vec::load(directory.path() / "nowhere"), InputError);
}

std::filesystem::path real_model() {
  return llmcf::testing::shared_directory() / "data/encoders/model2vec-vocab-quantized";
}

TEST(Model2Vec, AgreesWithTheReferenceOnItsFixture) {
  LLMCF_REQUIRE_PATH(real_model());
  const Model2Vec model = Model2Vec::load(real_model());
  const auto expected =
      Json::parse(read_file(real_model() / "test_embeddings.json")).at(0).get<std::vector<float>>();
  const std::vector<float> vector = encode(model, "Hello");  // what the fixture was made from
  ASSERT_EQ(vector.size(), expected.size());
  for (size_t column = 0; column < expected.size(); ++column)
    EXPECT_NEAR(vector[column], expected[column], 1e-4F);
}

// What the reference computes, written out: mean of weight x centroid over the tokens.
TEST(Model2Vec, ASentenceIsTheWeightedMeanOfItsCentroids) {
  LLMCF_REQUIRE_PATH(real_model());
  const Model2Vec model = Model2Vec::load(real_model());
  const Tokenizer tokenizer = Tokenizer::load(real_model() / "tokenizer.json");
  const SafetensorsReader reader(real_model() / "model.safetensors");
  const auto centroids = reader.get<float>("embeddings", {128, 64});
  const auto mapping = reader.get<int32_t>("mapping");
  const TensorView& weights = reader.tensor("weights");
  const std::vector<std::string> words = {"▁this", "▁is", "▁a", "▁test", "▁,", "▁really", "▁!"};
  std::vector<double> sum(64, 0.0);
  for (const std::string& word : words) {
    const std::optional<int32_t> id = tokenizer.id(word);
    ASSERT_TRUE(id.has_value()) << word;
    double weight = 0.0;
    std::memcpy(&weight, weights.data + static_cast<size_t>(*id) * sizeof(double), sizeof(double));
    for (size_t column = 0; column < 64; ++column)
      sum[column] +=
          weight *
          static_cast<double>(
              centroids[static_cast<size_t>(mapping[static_cast<size_t>(*id)]) * 64 + column]);
  }
  double square = 0.0;
  for (const double value : sum)
    square += value * value;
  const std::vector<float> vector = encode(model, "  This is a TEST,\treally!");
  for (size_t column = 0; column < 64; ++column)
    EXPECT_NEAR(vector[column], sum[column] / std::sqrt(square), 1e-5);
}

TEST(Model2Vec, RealTextsHaveUnitLength) {
  LLMCF_REQUIRE_PATH(real_model());
  const Model2Vec model = Model2Vec::load(real_model());
  for (const char* text :
       {"Maybelline Lipstick, Red 4.2g", "Crème brûlée", "化粧水", "x\xFFy", "😀 a"}) {
    double square = 0.0;
    for (const float value : encode(model, text))
      square += static_cast<double>(value) * value;
    EXPECT_NEAR(square, 1.0, 1e-5) << text;
  }
}

}  // namespace
}  // namespace llmcf::text
