// Bundles: what opens, what is refused, and with which words.
#include "serve/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "serve/toy_bundle.h"
#include "text/make_encoder.h"

namespace llmcf::serve {
namespace {

using ::testing::HasSubstr;

class BundleTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory();
    write_toy_bundle({}, file());
  }
  static void TearDownTestSuite() { delete directory_; }
  static std::filesystem::path file() { return directory_->path() / "toy.bundle"; }

  // What opening a file with this content says.
  static std::string refusal(const std::string& content) {
    const auto path = directory_->path() / "altered.bundle";
    write_file(path, content);
    try {
      const Bundle bundle(path);
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("altered.bundle"));
      return error.what();
    }
    return "opened";
  }
  static TemporaryDirectory* directory_;
};

TemporaryDirectory* BundleTest::directory_ = nullptr;

TEST_F(BundleTest, OpensWithNamesHistoriesAndValues) {
  const Bundle bundle(file());
  EXPECT_EQ(bundle.spec().users, 40);
  EXPECT_EQ(bundle.users().find("user-7"), 7);
  EXPECT_EQ(bundle.users().find("user-70"), std::nullopt);
  EXPECT_EQ(bundle.items().find("item-60"), 60);
  EXPECT_EQ(bundle.items().find(""), std::nullopt);
  EXPECT_EQ(bundle.items()[5], "item-5");
  EXPECT_TRUE(bundle.history(0).empty());
  EXPECT_FALSE(bundle.history(3).empty());
  ASSERT_EQ(bundle.values(2).ids_of(5).size(), 1U);
  const auto brand = bundle.values(2).ids_of(5)[0];
  EXPECT_EQ(bundle.vocabulary(2)[brand], "brand-" + std::to_string(brand));
  EXPECT_THAT(std::string(bundle.item_title(5)), HasSubstr("thing 5"));
}

TEST_F(BundleTest, DescribesItselfAsItWasDescribed) {
  const Bundle bundle(file());
  const std::string text = bundle.spec().to_json();
  EXPECT_EQ(BundleSpec::from_json(text).to_json(), text);
  EXPECT_THROW(BundleSpec::from_json("{}"), Error);
}

TEST_F(BundleTest, TruncationAnywhereIsRefused) {
  const std::string content = read_file(file());
  for (size_t keep = 0; keep < content.size(); keep += content.size() / 23 + 1)
    EXPECT_NE(refusal(content.substr(0, keep)), "opened") << keep;
  EXPECT_THAT(refusal(content.substr(0, content.size() - 1)), HasSubstr("truncated"));
}

TEST_F(BundleTest, AlteredBytesAreRefused) {
  const std::string content = read_file(file());
  uint64_t header = 0;
  std::copy_n(content.data(), sizeof(header), reinterpret_cast<char*>(&header));
  for (size_t at = sizeof(header) + header; at < content.size(); at += content.size() / 29) {
    std::string altered = content;
    altered[at] = static_cast<char>(altered[at] ^ 1);
    EXPECT_THAT(refusal(altered), HasSubstr("does not match its checksum")) << at;
  }
}

TEST_F(BundleTest, AlteredDescriptionsAndMissingChecksumsAreRefused) {
  const std::string content = read_file(file());
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string altered = content;
    const size_t at = altered.find(from);
    EXPECT_NE(at, std::string::npos);
    return altered.replace(at, from.size(), to);
  };
  EXPECT_THAT(refusal(changed("\\\"history_length\\\":20", "\\\"history_length\\\":21")),
              HasSubstr("description does not match"));
  EXPECT_THAT(refusal(changed("xxh3.user_row", "xxh4.user_row")), HasSubstr("has no checksum"));
  EXPECT_THAT(refusal(changed("\"llmcf.bundle\"", "\"llmcf.bungle\"")), HasSubstr("is no bundle"));
  EXPECT_THAT(refusal("not a bundle at all"), HasSubstr("safetensors"));
}

TEST_F(BundleTest, CarriesItsEncoder) {
  const Bundle bundle(file());
  const TemporaryDirectory directory;
  bundle.extract_encoder(directory.path());
  const auto encoder = text::load_encoder(directory.path());
  EXPECT_EQ(encoder->fingerprint(), bundle.spec().encoder);
}

TEST_F(BundleTest, SameContentSameVersion) {
  const auto again = directory_->path() / "again.bundle",
             other = directory_->path() / "other.bundle";
  write_toy_bundle({}, again);
  write_toy_bundle({.seed = 2}, other);
  EXPECT_EQ(Bundle(file()).version(), Bundle(again).version());
  EXPECT_NE(Bundle(file()).version(), Bundle(other).version());
}

}  // namespace
}  // namespace llmcf::serve
