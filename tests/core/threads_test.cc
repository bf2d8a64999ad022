// Loops cover every index once for any thread count, and failures reach the caller.
#include "core/threads.h"

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace llmcf {
namespace {

// Sets the thread count for one test.
class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(thread_count()) { set_thread_count(count); }
  ~ThreadCount() { set_thread_count(before_); }

 private:
  int before_;
};

class Threads : public ::testing::TestWithParam<int> {
 protected:
  ThreadCount count_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Counts, Threads, ::testing::Values(1, 2, 3, 8));

TEST_P(Threads, ParallelForVisitsEveryIndexOnce) {
  for (const int64_t size : {0, 1, 2, 7, 100, 1001}) {
    std::vector<int> visits(static_cast<size_t>(size), 0);
    parallel_for(size, 1, [&](int64_t begin, int64_t end) {
      for (int64_t index = begin; index < end; ++index)
        ++visits[static_cast<size_t>(index)];
    });
    for (const int visit : visits)
      ASSERT_EQ(visit, 1);
  }
}

TEST_P(Threads, ParallelForKeepsChunksAtLeastTheGrain) {
  std::atomic<int64_t> shortest{1000};
  parallel_for(1000, 300, [&](int64_t begin, int64_t end) {
    int64_t seen = shortest;
    while (end - begin < seen && !shortest.compare_exchange_weak(seen, end - begin)) {
    }
  });
  EXPECT_GE(shortest.load(), 300);
}

TEST_P(Threads, ParallelChunksVisitEveryIndexOnceInChunksOfTheGrain) {
  std::vector<int> visits(1003, 0);
  std::atomic<bool> sound{true};
  parallel_chunks(1003, 10, [&](int64_t begin, int64_t end, int worker) {
    if (begin % 10 != 0 || end - begin > 10 || worker < 0 || worker >= thread_count())
      sound = false;
    for (int64_t index = begin; index < end; ++index)
      ++visits[static_cast<size_t>(index)];
  });
  EXPECT_TRUE(sound);
  for (const int visit : visits)
    ASSERT_EQ(visit, 1);
}

TEST_P(Threads, ExceptionsReachTheCaller) {
  const auto fail_at_last = [](int64_t, int64_t end) {
    if (end == 100) throw std::runtime_error("index 99");
  };
  EXPECT_THROW(parallel_for(100, 1, fail_at_last), std::runtime_error);
  const auto fail_in_chunk = [](int64_t begin, int64_t, int) {
    if (begin == 40) throw std::runtime_error("chunk 40");
  };
  EXPECT_THROW(parallel_chunks(100, 10, fail_in_chunk), std::runtime_error);
}

TEST_P(Threads, AFailureDoesNotSpoilTheNextLoop) {
  EXPECT_THROW(parallel_for(10, 1, [](int64_t, int64_t) { throw std::runtime_error("all"); }),
               std::runtime_error);
  std::atomic<int64_t> sum{0};
  parallel_for(10, 1, [&](int64_t begin, int64_t end) { sum += end - begin; });
  EXPECT_EQ(sum.load(), 10);
}

TEST(ThreadsCount, RefusesNonsense) {
  EXPECT_THROW(set_thread_count(0), std::logic_error);
  EXPECT_GE(thread_count(), 1);
}

TEST(ThreadsCount, NegativeSizesAreEmpty) {
  parallel_for(-3, 1, [](int64_t, int64_t) { FAIL(); });
  parallel_chunks(-3, 1, [](int64_t, int64_t, int) { FAIL(); });
}

TEST(ThreadsCount, GrainZeroIsOne) {
  std::atomic<int64_t> sum{0};
  parallel_for(5, 0, [&](int64_t begin, int64_t end) { sum += end - begin; });
  parallel_chunks(5, 0, [&](int64_t begin, int64_t end, int) { sum += end - begin; });
  EXPECT_EQ(sum.load(), 10);
}

}  // namespace
}  // namespace llmcf
