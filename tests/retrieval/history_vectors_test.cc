// History means against a sum written down.
#include "retrieval/history_vectors.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/threads.h"
#include "retrieval/random_world.h"

namespace llmcf::retrieval {
namespace {

using testing::World;

std::vector<float> plain_mean(const World& world, int32_t user, int32_t position, int64_t limit) {
  std::span<const int32_t> items = world.histories()(user, position);
  if (limit > 0 && static_cast<int64_t>(items.size()) > limit)
    items = items.last(static_cast<size_t>(limit));
  std::vector<float> mean(static_cast<size_t>(world.width), 0.0F);
  for (const int32_t item : items) {
    for (size_t k = 0; k < mean.size(); ++k)
      mean[k] += world.texts().row(item)[k];
  }
  for (float& value : mean)
    value *= items.empty() ? 0.0F : 1.0F / static_cast<float>(items.size());
  return mean;
}

TEST(HistoryMean, EqualsThePlainMeanForEveryLimitAndThreadCount) {
  const World world({.users = 300, .items = 50, .width = 37, .longest = 40, .queries = 2000}, 1);
  const auto queries = world.rows.queries();
  const int threads_before = thread_count();
  for (const int64_t limit : {0, 1, 20, 1000}) {
    for (const int threads : {1, 4}) {
      set_thread_count(threads);
      std::vector<float> out(queries.user.size() * 37, -1.0F);
      history_mean(world.histories(), world.texts(), queries.user, queries.position, limit, out);
      for (size_t row = 0; row < queries.user.size(); ++row) {
        const auto expected = plain_mean(world, queries.user[row], queries.position[row], limit);
        ASSERT_TRUE(std::equal(expected.begin(), expected.end(),
                               out.begin() + static_cast<int64_t>(row) * 37))
            << "row " << row;
      }
    }
  }
  set_thread_count(threads_before);
}

TEST(HistoryMean, OfAnEmptyHistoryIsZero) {
  const World world({}, 2);
  const std::vector<int32_t> users = {1, 2};
  const std::vector<int32_t> positions = {0, 3};
  for (const int64_t limit : {0, 20}) {
    std::vector<float> out(16, -1.0F);
    history_mean(world.histories(), world.texts(), users, positions, limit, out);
    EXPECT_EQ(std::count(out.begin(), out.begin() + 8, 0.0F), 8);
    EXPECT_LT(std::count(out.begin() + 8, out.end(), 0.0F), 8);
  }
}

TEST(HistoryMean, RefusesRoomThatDoesNotFit) {
  const World world({}, 3);
  const std::vector<int32_t> one = {1};
  std::vector<float> out(7);
  EXPECT_THROW(history_mean(world.histories(), world.texts(), one, one, 0, out), Error);
}

}  // namespace
}  // namespace llmcf::retrieval
