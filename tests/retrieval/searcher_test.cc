// One request at a time against all rows at once.
#include "retrieval/searcher.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "retrieval/random_world.h"

namespace llmcf::retrieval {
namespace {

using testing::World;

TEST(Searcher, EqualsAssignForEveryRow) {
  for (const double weight : {0.0, 0.5, 1.0}) {
    for (const bool time_safe : {false, true}) {
      const World world(
          {.users = 60, .items = 90, .width = 24, .examples = 3000, .queries = 80, .days = 50}, 9);
      const RetrievalOptions options{.k = 6,
                                     .positives = 4,
                                     .history_weight = weight,
                                     .time_safe = time_safe,
                                     .normalize = time_safe};
      const Queries queries = world.rows.queries();
      const Assignment expected =
          assign(world.examples.pool(), queries, world.texts(), world.histories(), options);
      const Searcher searcher(world.examples.pool(), world.texts(), world.histories(), options);
      std::vector<float> history(queries.user.size() * 24);
      history_mean(world.histories(), world.texts(), queries.user, queries.position, 0, history);
      for (int64_t row = 0; row < expected.rows; ++row) {
        const auto at = static_cast<size_t>(row);
        const Request request{.user = queries.user[at],
                              .position = queries.position[at],
                              .time = queries.time[at],
                              .history = std::span<const float>(history).subspan(at * 24, 24)};
        // The row's item among others, so that several blocks of candidates are filled.
        std::vector<int32_t> candidates(100, 1);
        candidates[97] = queries.item[at];
        const Assignment found = searcher.search(request, candidates);
        for (size_t slot = 0; slot < 6; ++slot) {
          ASSERT_EQ(found.ids_of(97)[slot], expected.ids_of(row)[slot]);
          ASSERT_EQ(found.similarity_of(97)[slot], expected.similarity_of(row)[slot]);
        }
      }
    }
  }
}

TEST(Searcher, RefusesUnknownCandidatesAndVectorsOfAnotherWidth) {
  const World world({}, 9);
  const Searcher searcher(world.examples.pool(), world.texts(), world.histories(), {});
  const std::vector<float> history(8);
  const std::vector<int32_t> unknown = {21};
  EXPECT_THROW(searcher.search({.history = history}, unknown), Error);
  EXPECT_THROW(searcher.search({.history = std::span(history).first(7)}, {}), Error);
  EXPECT_EQ(searcher.search({.history = history}, {}).rows, 0);
}

}  // namespace
}  // namespace llmcf::retrieval
