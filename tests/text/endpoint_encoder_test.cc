// The endpoint encoder against a real server that misbehaves: order, width, broken answers,
// retries.
#include "text/endpoint_encoder.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/log.h"
#include "scripted_server.h"

namespace llmcf::text {
namespace {

using Json = nlohmann::json;
using ::testing::Each;
using ::testing::HasSubstr;

class FakeClock final : public net::Clock {
 public:
  std::chrono::system_clock::time_point now() const override { return {}; }
  void sleep(net::Milliseconds duration, const std::atomic<bool>*) override {
    slept_ms += duration.count();
  }
  std::atomic<int64_t> slept_ms{0};
};

class EndpointEncoderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    LLMCF_REQUIRE_PYTHON();
    log::set_level(log::level::off);
    server_ = std::make_unique<llmcf::testing::ScriptedServer>();
    options_.base_url = server_->url();
    options_.model = "m";
    options_.width = 16;
    options_.batch = 4;
    options_.retry.max_attempts = 3;
  }
  void rule(const Json& rule) { server_->script(Json{{"rules", {rule}}}); }
  std::vector<float> encode(const std::vector<std::string>& texts) {
    const EndpointEncoder encoder(options_, clock_);
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    std::vector<float> out(texts.size() * static_cast<size_t>(encoder.dim()), -7.0F);
    encoder.encode(views, out);
    return out;
  }
  std::string failure(const std::vector<std::string>& texts) {
    try {
      encode(texts);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  std::unique_ptr<llmcf::testing::ScriptedServer> server_;
  EndpointEncoderOptions options_;
  FakeClock clock_;
};

const std::vector<std::string> kTexts = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};

TEST_F(EndpointEncoderTest, VectorsAreNormalisedAndInOrder) {
  const std::vector<float> together = encode(kTexts);
  EXPECT_EQ(server_->requests().size(), 3U);  // batches of 4
  for (size_t at = 0; at < kTexts.size(); ++at) {
    const std::vector<float> alone = encode({kTexts[at]});
    double square = 0.0;
    for (size_t column = 0; column < 16; ++column) {
      EXPECT_EQ(alone[column], together[at * 16 + column]);
      square += static_cast<double>(alone[column]) * alone[column];
    }
    EXPECT_NEAR(square, 1.0, 1e-5);
  }
}

TEST_F(EndpointEncoderTest, EntriesAreMatchedByTheirIndex) {
  const std::vector<float> expected = encode(kTexts);
  rule({{"action", "reorder"}});
  EXPECT_EQ(encode(kTexts), expected);
}

TEST_F(EndpointEncoderTest, PassingTroubleIsRetried) {
  const std::vector<float> expected = encode(kTexts);
  rule({{"action", "status"}, {"status", 429}, {"headers", {{"Retry-After", "7"}}}, {"each", 1}});
  EXPECT_EQ(encode(kTexts), expected);
  EXPECT_GE(clock_.slept_ms, 3 * 7000);
  for (const char* action : {"broken_json", "drop", "truncate", "missing", "duplicate", "null"}) {
    rule({{"action", action}, {"each", 1}});
    EXPECT_EQ(encode(kTexts), expected) << action;
  }
}

TEST_F(EndpointEncoderTest, LastingTroubleIsAnError) {
  rule({{"action", "status"}, {"status", 500}});
  EXPECT_THAT(failure(kTexts), HasSubstr("HTTP status 500 after 3 attempts"));
  rule({{"action", "status"}, {"status", 401}, {"body", "no such key"}});
  EXPECT_THAT(failure(kTexts), HasSubstr("401 after 1 attempts: no such key"));
  rule({{"action", "broken_json"}});
  EXPECT_THAT(failure(kTexts), HasSubstr("no embeddings in the answer"));
  rule({{"action", "missing"}});
  EXPECT_THAT(failure({"a", "b"}), HasSubstr("2 texts were sent, 1 vectors came back"));
  rule({{"action", "duplicate"}});
  EXPECT_THAT(failure({"a", "b"}), HasSubstr("two vectors have index 0"));
}

TEST_F(EndpointEncoderTest, AWrongWidthIsAnError) {
  rule({{"action", "wrong_width"}});
  EXPECT_THAT(failure(kTexts), HasSubstr("vectors of 15 numbers, expected 16"));
}

TEST_F(EndpointEncoderTest, TheWidthCanBeAskedFor) {
  options_.width = 0;
  server_->script(R"({"embeddings": {"dim": 24}})");
  EXPECT_EQ(EndpointEncoder(options_, clock_).dim(), 24);
}

TEST_F(EndpointEncoderTest, BlankTextsAreZeroAndNotSent) {
  const std::vector<float> vectors = encode({"", "  \n", "x"});
  EXPECT_THAT(std::vector<float>(vectors.begin(), vectors.begin() + 32), Each(0.0F));
  EXPECT_EQ(server_->requests().back()["prompt"], "x");
}

TEST_F(EndpointEncoderTest, AnyBytesAreSentAsText) {
  options_.max_bytes_per_text = 5;
  encode({"ab\xFF", "日本語"});
  EXPECT_EQ(server_->requests().back()["prompt"], "ab\uFFFD\n日");
}

TEST_F(EndpointEncoderTest, TheFingerprintKnowsModelAddressAndWidth) {
  const std::string base = EndpointEncoder(options_).fingerprint();
  EndpointEncoderOptions other = options_;
  other.batch = 7;
  other.base_url += "/v1/";
  EXPECT_EQ(EndpointEncoder(other).fingerprint(), base);
  other.model = "n";
  EXPECT_NE(EndpointEncoder(other).fingerprint(), base);
  EXPECT_TRUE(server_->requests().empty());
}

}  // namespace
}  // namespace llmcf::text
