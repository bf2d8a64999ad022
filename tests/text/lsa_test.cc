// LSA: unit length, similarity, determinism over threads and order, any bytes, files; the truncated
// SVD.
#include "text/lsa.h"

#include <cmath>
#include <fstream>
#include <numeric>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "core/threads.h"
#include "text/linear_algebra.h"

namespace llmcf::text {
namespace {

// Sentences of several topics with words of their own.
std::vector<std::string> sentences(int count, int topics = 6) {
  Random random(5, "test.sentences");
  std::vector<std::string> texts;
  for (int at = 0; at < count; ++at) {
    std::string text = "item " + std::to_string(at);
    for (int word = 0; word < 8; ++word) {
      text += " t" + std::to_string(at % topics) + "word" + std::to_string(random.below(20));
      if (word % 3 == 0) text += " common" + std::to_string(random.below(30));
    }
    texts.push_back(text);
  }
  return texts;
}

std::vector<std::string_view> views(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

std::vector<float> encode(const Encoder& encoder, const std::vector<std::string>& texts) {
  std::vector<float> out(texts.size() * static_cast<size_t>(encoder.dim()), -7.0F);
  encoder.encode(views(texts), out);
  return out;
}

std::vector<float> encode(const Encoder& encoder, const std::string& text) {
  return encode(encoder, std::vector<std::string>{text});
}

float dot(const std::vector<float>& a, const std::vector<float>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0F);
}

// Sets the number of threads for one scope.
class Threads {
 public:
  explicit Threads(int count) : before_(thread_count()) { set_thread_count(count); }
  ~Threads() { set_thread_count(before_); }

 private:
  int before_;
};

const Lsa& small() {
  static const std::vector<std::string> texts = sentences(600);
  static const Lsa lsa = Lsa::fit(views(texts), {.width = 24});
  return lsa;
}

TEST(Lsa, VectorsHaveUnitLength) {
  for (const std::string& text : sentences(50)) {
    const std::vector<float> vector = encode(small(), text);
    EXPECT_NEAR(dot(vector, vector), 1.0F, 1e-5F);
  }
}

TEST(Lsa, TextsOfOneTopicAreCloser) {
  const std::vector<float> a = encode(small(), "t1word3 t1word4 t1word7");
  const std::vector<float> b = encode(small(), "t1word9 t1word1 t1word2");  // no word in common
  const std::vector<float> c = encode(small(), "t4word3 t4word4 t4word7");
  EXPECT_GT(dot(a, b), dot(a, c) + 0.3F);
}

TEST(Lsa, AMisspeltWordIsStillKnownByItsLetters) {
  const std::vector<std::string> texts = {"shampoo for dry hair", "moisturizing shampoo",
                                          "lipstick red matte",   "matte lipstick pink",
                                          "nail polish",          "polish remover for nails"};
  const Lsa lsa = Lsa::fit(views(texts), {.width = 4});
  const std::vector<float> typo = encode(lsa, "shampooo");
  EXPECT_GT(dot(typo, encode(lsa, "shampoo")), dot(typo, encode(lsa, "lipstick")) + 0.3F);
}

TEST(Lsa, NothingKnownIsTheZeroVector) {
  for (const char* text : {"", "   ", "?!...", "\t\n", "qqqq", "\xEF\xB8\x8F"}) {
    const std::vector<float> vector = encode(small(), text);
    EXPECT_THAT(vector, ::testing::Each(0.0F)) << text;
  }
}

TEST(Lsa, AnyBytesCanBeEncoded) {
  const std::vector<std::string> corpus = {
      "caf\xE9 noir",    "caf\xC3\xA9 au lait",    "化粧水 しっとり",
      "化粧水 さっぱり", "red heart ❤️ gift",  "heart ❤ box",
      "ИГРУШКА мягкая",  "мягкая игрушка большая", "a\0b\xFF\xFE\xC0"};
  const Lsa lsa = Lsa::fit(views(corpus), {.width = 16});
  // A stray byte is read as Latin-1, so both spellings of the word agree.
  EXPECT_GT(dot(encode(lsa, "CAF\xE9"), encode(lsa, "café")), 0.99F);
  EXPECT_GT(dot(encode(lsa, "игрушка"), encode(lsa, "ИГРУШКА")), 0.99F);
  EXPECT_GT(dot(encode(lsa, "化粧"), encode(lsa, "化粧水")), 0.5F);
  EXPECT_GT(dot(encode(lsa, "❤️"), encode(lsa, "❤")), 0.99F);
  Random random(9, "test.bytes");
  std::string noise(5000, ' ');
  for (char& letter : noise)
    letter = static_cast<char>(random.below(256));
  const std::vector<float> vector = encode(lsa, noise);
  EXPECT_TRUE(std::all_of(vector.begin(), vector.end(), [](float x) { return std::isfinite(x); }));
}

TEST(Lsa, FitDoesNotDependOnThreadsOrOrder) {
  std::vector<std::string> texts = sentences(3000);
  std::set<std::string> fingerprints;
  for (const int threads : {1, 2, 3}) {
    const Threads scope(threads);
    fingerprints.insert(Lsa::fit(views(texts), {.width = 32}).fingerprint());
    std::reverse(texts.begin(), texts.end());
  }
  EXPECT_EQ(fingerprints.size(), 1U);
  EXPECT_NE(*fingerprints.begin(), Lsa::fit(views(texts), {.width = 32, .seed = 2}).fingerprint());
}

TEST(Lsa, AVectorDoesNotDependOnItsCompany) {
  const std::vector<std::string> texts = sentences(300);
  const std::vector<float> together = encode(small(), texts);
  for (size_t at = 0; at < texts.size(); at += 37) {
    const std::vector<float> alone = encode(small(), texts[at]);
    EXPECT_TRUE(
        std::equal(alone.begin(), alone.end(), together.begin() + static_cast<int64_t>(at * 24)));
  }
}

TEST(Lsa, SavedAndLoadedIsIdentical) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "lsa.safetensors";
  small().save(path);
  const Lsa loaded = Lsa::load(path);
  EXPECT_EQ(loaded.fingerprint(), small().fingerprint());
  EXPECT_EQ(loaded.name(), "lsa-24");
  const std::vector<std::string> texts = sentences(100);
  EXPECT_EQ(encode(loaded, texts), encode(small(), texts));
}

TEST(Lsa, ADamagedFileIsAnError) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "lsa.safetensors";
  small().save(path);
  std::string bytes = read_file(path);
  bytes[bytes.size() - 3] = static_cast<char>(bytes[bytes.size() - 3] ^ 1);
  write_file(path, bytes);
  EXPECT_THROW(Lsa::load(path), InputError);
}

TEST(Lsa, AFewTextsLeaveTheOtherColumnsZero) {
  const std::vector<std::string> texts = {"one two", "three four", "five six"};
  const Lsa lsa = Lsa::fit(views(texts), {.width = 256});
  EXPECT_EQ(lsa.dim(), 256);
  const std::vector<float> vector = encode(lsa, "one two");
  EXPECT_NEAR(dot(vector, vector), 1.0F, 1e-5F);
  for (size_t column = 3; column < 256; ++column)
    EXPECT_EQ(vector[column], 0.0F);
  EXPECT_NEAR(dot(vector, encode(lsa, "three four")), 0.0F, 1e-4F);
}

TEST(Lsa, ACorpusWithoutWordsIsAnError) {
  EXPECT_THROW(Lsa::fit({}, {}), Error);
  const std::vector<std::string> texts = {"", "  ", "..."};
  EXPECT_THROW(Lsa::fit(views(texts), {}), Error);
  EXPECT_THROW(Lsa::fit(views(sentences(10)), {.width = 0}), Error);
}

TEST(Lsa, ALargeCorpusIsSampledByContent) {
  const std::vector<std::string> texts = sentences(2000);
  std::vector<std::string> reversed(texts.rbegin(), texts.rend());
  const LsaOptions options{.width = 16, .max_fit_texts = 500};
  EXPECT_EQ(Lsa::fit(views(texts), options).fingerprint(),
            Lsa::fit(views(reversed), options).fingerprint());
}

// A sparse matrix with known singular values: diagonal, rows and columns mixed by nothing.
TEST(TruncatedSvd, FindsTheSingularValuesOfADiagonal) {
  SparseMatrix matrix;
  matrix.columns = 60;
  for (int32_t row = 0; row < 60; ++row) {
    matrix.entries.push_back({row, 10.0F * std::pow(0.9F, static_cast<float>(row))});
    matrix.offsets.push_back(row + 1);
  }
  const Svd svd = truncated_svd(matrix, {.width = 8, .iterations = 6, .oversampling = 8});
  ASSERT_EQ(svd.rank, 8);
  for (int k = 0; k < 8; ++k) {
    EXPECT_NEAR(svd.singular[static_cast<size_t>(k)], 10.0 * std::pow(0.9, k), 1e-3);
    EXPECT_NEAR(svd.right[static_cast<size_t>(k * 8 + k)], 1.0F, 1e-2F);
  }
}

TEST(TruncatedSvd, TheProjectionKeepsTheNormOfALowRankMatrix) {
  // Rank 3: every row is a combination of three patterns.
  Random random(2, "test.svd");
  float patterns[3][40];
  for (auto& pattern : patterns)
    for (float& value : pattern)
      value = static_cast<float>(random.normal());
  SparseMatrix matrix;
  matrix.columns = 40;
  for (int row = 0; row < 200; ++row) {
    const double mix[3] = {random.normal(), random.normal(), random.normal()};
    for (int32_t column = 0; column < 40; ++column) {
      double value = 0.0;
      for (int k = 0; k < 3; ++k)
        value += mix[k] * static_cast<double>(patterns[k][column]);
      matrix.entries.push_back({column, static_cast<float>(value)});
    }
    matrix.offsets.push_back(static_cast<int64_t>(matrix.entries.size()));
  }
  const Svd svd = truncated_svd(matrix, {.width = 10});
  EXPECT_EQ(svd.rank, 3);
  const std::vector<float> projected = multiply(matrix, svd.right, 10);
  double before = 0.0;
  double after = 0.0;
  for (const SparseEntry& entry : matrix.entries)
    before += static_cast<double>(entry.value) * entry.value;
  for (const float value : projected)
    after += static_cast<double>(value) * value;
  EXPECT_NEAR(after / before, 1.0, 1e-4);
}

}  // namespace
}  // namespace llmcf::text
