// Counts of what retrieval found, the two distances, and the window of the last requests.
#include "serve/retrieval_profile.h"

#include <cmath>

#include <gtest/gtest.h>

#include "core/files.h"
#include "core/random.h"
#include "serve/request_window.h"

namespace llmcf::serve {
namespace {

// Rows of one slot whose similarity is normal around `mean`.
RetrievalProfile normal_profile(double mean, int rows, uint64_t seed) {
  Random random(seed, "retrieval_profile_test");
  RetrievalProfile profile;
  const int32_t id = 0;
  for (int row = 0; row < rows; ++row) {
    const auto similarity = static_cast<float>(mean + 0.1 * random.normal());
    profile.add({&id, 1}, {&similarity, 1});
  }
  return profile;
}

TEST(RetrievalProfileTest, BucketsEndAtTheirBoundaries) {
  EXPECT_EQ(similarity_bucket(-0.5F), 0);
  EXPECT_EQ(similarity_bucket(0), 0);
  EXPECT_EQ(similarity_bucket(0.001F), 1);
  EXPECT_EQ(similarity_bucket(0.02F), 1);
  EXPECT_EQ(similarity_bucket(0.0201F), 2);
  EXPECT_EQ(similarity_bucket(1), 50);
  EXPECT_EQ(similarity_bucket(1.5F), 51);
  const auto boundaries = similarity_boundaries();
  ASSERT_EQ(boundaries.size() + 1, static_cast<size_t>(kSimilarityBuckets));
  for (size_t i = 0; i < boundaries.size(); ++i)
    EXPECT_EQ(similarity_bucket(static_cast<float>(boundaries[i])), static_cast<int64_t>(i));
}

TEST(RetrievalProfileTest, RowsAreCountedByWhatTheyGot) {
  RetrievalProfile profile;
  const int32_t all[] = {3, 1}, some[] = {-1, 2}, none[] = {-1, -1};
  const float first[] = {0.5F, 0.7F}, second[] = {0, 0.3F}, third[] = {0, 0};
  profile.add(all, first);
  profile.add(some, second);
  profile.add(none, third);
  EXPECT_EQ(profile.rows, 3);
  EXPECT_EQ(profile.with_examples, 2);
  EXPECT_EQ(profile.complete, 1);
  EXPECT_EQ(profile.slots, 6);
  EXPECT_EQ(profile.filled, 3);
  EXPECT_EQ(profile.best[static_cast<size_t>(similarity_bucket(0.7F))], 1);
  EXPECT_EQ(profile.best[static_cast<size_t>(similarity_bucket(0.3F))], 1);
}

TEST(RetrievalProfileTest, ABundleGivesItBack) {
  const TemporaryDirectory directory;
  const RetrievalProfile written = normal_profile(0.6, 500, 1);
  SafetensorsWriter writer;
  std::vector<int64_t> kept;
  written.add_to(writer, kept);
  writer.write(directory.path() / "file");
  const auto read = RetrievalProfile::read(SafetensorsReader(directory.path() / "file"));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->best, written.best);
  EXPECT_EQ(read->complete, 500);
  SafetensorsWriter empty;
  empty.add<int64_t>("other", kept);
  empty.write(directory.path() / "empty");
  EXPECT_FALSE(RetrievalProfile::read(SafetensorsReader(directory.path() / "empty")));
}

TEST(RetrievalProfileTest, DistancesGrowWithTheShift) {
  const SimilarityCounts reference = normal_profile(0.5, 20'000, 1).best;
  EXPECT_NEAR(population_stability(reference, reference), 0, 1e-12);
  EXPECT_NEAR(kolmogorov_smirnov(reference, reference), 0, 1e-12);
  double index = 0, distance = 0;
  for (const double shift : {0.02, 0.1, 0.3}) {
    const SimilarityCounts seen = normal_profile(0.5 + shift, 20'000, 2).best;
    EXPECT_GT(population_stability(reference, seen), index);
    EXPECT_GT(kolmogorov_smirnov(reference, seen), distance);
    index = population_stability(reference, seen);
    distance = kolmogorov_smirnov(reference, seen);
  }
  // A shift by three deviations: F(1.5) - F(-1.5) of the normal distribution.
  EXPECT_NEAR(distance, 0.866, 0.02);
  EXPECT_LT(population_stability(reference, normal_profile(0.5, 2000, 3).best), 0.02);
  EXPECT_GT(population_stability(reference, normal_profile(0.6, 2000, 3).best), 0.25);
  EXPECT_TRUE(std::isnan(population_stability(reference, {})));
}

TEST(RequestWindowTest, ForgetsOldRequestsAndWeighsThemAlike) {
  const RetrievalProfile reference = normal_profile(0.5, 5000, 1);
  RequestWindow window(50, reference);
  EXPECT_TRUE(std::isnan(window.figures().population_stability));
  for (int i = 0; i < 50; ++i) {
    RequestRecord record{.retrieval = normal_profile(0.5, 40, static_cast<uint64_t>(i) + 10)};
    if (i % 5 == 0) record.mark(Fallback::kNoHistory);
    window.add(record);
  }
  EXPECT_LT(window.figures().population_stability, 0.05);
  EXPECT_NEAR(window.figures().fallbacks[static_cast<size_t>(Fallback::kNoHistory)], 0.2, 1e-12);
  // One huge request among many is one of them.
  window.add({.retrieval = normal_profile(0.9, 10'000, 2)});
  EXPECT_LT(window.figures().population_stability, 0.1);
  for (int i = 0; i < 50; ++i)
    window.add({.retrieval = normal_profile(0.8, 40, static_cast<uint64_t>(i) + 100)});
  EXPECT_GT(window.figures().population_stability, 1);
  EXPECT_GT(window.figures().kolmogorov_smirnov, 0.8);
  EXPECT_EQ(window.figures().requests, 50);
  EXPECT_EQ(window.figures().fallbacks[static_cast<size_t>(Fallback::kNoHistory)], 0);
}

}  // namespace
}  // namespace llmcf::serve
