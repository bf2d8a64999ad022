// Encoders by name: configuration mistakes, saving and reopening.
#include "text/make_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "shared_data.h"

namespace llmcf::text {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string_view> kCorpus = {"red lipstick", "matte lipstick", "dry shampoo",
                                               "shampoo for oily hair"};

std::vector<float> encode(const Encoder& encoder, std::string_view text) {
  std::vector<float> out(static_cast<size_t>(encoder.dim()));
  encoder.encode({&text, 1}, out);
  return out;
}

std::string failure(const std::string& yaml) {
  try {
    make_encoder(Config::parse(yaml, "run.yaml"), kCorpus);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(MakeEncoder, LsaIsTheDefault) {
  EXPECT_EQ(make_encoder(Config::parse("{}"), kCorpus)->name(), "lsa-256");
  EXPECT_EQ(make_encoder(Config::parse("width: 8"), kCorpus)->dim(), 8);
}

TEST(MakeEncoder, MistakesAreNamed) {
  EXPECT_THAT(failure("kind: lsaa"), HasSubstr("known: lsa, model2vec, endpoint"));
  EXPECT_THAT(failure("kind: lsa\nwidht: 8"), HasSubstr("width"));
  EXPECT_THAT(failure("kind: lsa\nwidth: 0"), HasSubstr("run.yaml:2"));
  EXPECT_THAT(failure("kind: model2vec"), HasSubstr("path"));
  EXPECT_THAT(failure("kind: endpoint\nmodel: m"), HasSubstr("base_url"));
}

TEST(MakeEncoder, SavedLsaIsReopened) {
  const TemporaryDirectory directory;
  const auto encoder = make_encoder(Config::parse("{kind: lsa, width: 8}"), kCorpus);
  save_encoder(*encoder, directory.path() / "encoder");
  const auto reopened = load_encoder(directory.path() / "encoder");
  EXPECT_EQ(reopened->fingerprint(), encoder->fingerprint());
  EXPECT_EQ(encode(*reopened, "lipstick"), encode(*encoder, "lipstick"));
}

TEST(MakeEncoder, FilesOfDifferentEncodersAreAnError) {
  const TemporaryDirectory directory;
  save_encoder(*make_encoder(Config::parse("{width: 8}"), kCorpus), directory.path() / "a");
  save_encoder(*make_encoder(Config::parse("{width: 4}"), kCorpus), directory.path() / "b");
  std::filesystem::copy_file(directory.path() / "a/lsa.safetensors",
                             directory.path() / "b/lsa.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  try {
    load_encoder(directory.path() / "b");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("do not belong together"));
  }
  EXPECT_THROW(load_encoder(directory.path() / "nowhere"), Error);
}

TEST(MakeEncoder, SavedEndpointKeepsItsOptionsAndNoToken) {
  const TemporaryDirectory directory;
  setenv("LLMCF_TEST_TOKEN", "s3cret", 1);
  const auto encoder = make_encoder(
      Config::parse("{kind: endpoint, base_url: 'http://localhost:9', model: m, width: 3, "
                    "token_env: LLMCF_TEST_TOKEN, retry: {max_attempts: 2}}"),
      {});
  save_encoder(*encoder, directory.path());
  EXPECT_EQ(load_encoder(directory.path())->fingerprint(), encoder->fingerprint());
  const std::string record = read_file(directory.path() / "encoder.json");
  EXPECT_THAT(record, HasSubstr("LLMCF_TEST_TOKEN"));
  EXPECT_THAT(record, ::testing::Not(HasSubstr("s3cret")));
  unsetenv("LLMCF_TEST_TOKEN");
}

TEST(MakeEncoder, SavedModel2VecNeedsItsOriginNoMore) {
  const auto origin =
      llmcf::testing::shared_directory() / "data/encoders/model2vec-vocab-quantized";
  LLMCF_REQUIRE_PATH(origin);
  const TemporaryDirectory directory;
  const auto encoder =
      make_encoder(Config::parse("{kind: model2vec, path: '" +
                                 std::filesystem::absolute(origin).string() + "'}"),
                   {});
  EXPECT_EQ(encoder->dim(), 64);
  save_encoder(*encoder, directory.path());
  const auto reopened = load_encoder(directory.path());
  EXPECT_EQ(reopened->fingerprint(), encoder->fingerprint());
  EXPECT_EQ(encode(*reopened, "red lipstick"), encode(*encoder, "red lipstick"));
}

}  // namespace
}  // namespace llmcf::text
