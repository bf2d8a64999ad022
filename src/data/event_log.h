// The interactions in memory while a data set is made: 16 bytes each, 20 with ratings.
#pragma once

#include <cstdint>
#include <vector>

namespace llmcf::data {

struct EventLog {
  std::vector<int32_t> user;  // from 0, in order of first appearance
  std::vector<int32_t> item;  // row of the catalogue, from 0
  std::vector<int64_t> time;
  std::vector<float> rating;  // empty if implicit

  int64_t size() const { return static_cast<int64_t>(user.size()); }
};

struct ArrangeOptions {
  bool deduplicate = false;
  int64_t k_core = 0;
  bool keep_untouched_items = true;
};

// Events as a data set holds them, and how they map to the input.
struct ArrangedEvents {
  std::vector<int64_t> user_offsets;  // [users + 2], ids from 1
  std::vector<int32_t> item;          // ids from 1
  std::vector<int64_t> time;
  std::vector<float> rating;
  std::vector<int64_t> input;     // [events], index in the log
  std::vector<int64_t> user_row;  // [users + 1]: user id -> number in the log; entry 0 is -1
  std::vector<int64_t> item_row;  // [items + 1]: item id -> row of the catalogue; entry 0 is -1
  int64_t duplicates = 0;
  int64_t dropped_by_core = 0;
  int64_t untouched_items = 0;
};

// Orders by (user, time, input), removes repeated (user, item) pairs but the earliest, then users
// and items with fewer than k events until none is left. Ids keep the order of the log's users and
// of the catalogue. Empties `log` as it goes, to spare memory. `want_input`: fill `input`.
ArrangedEvents arrange(EventLog&& log, int64_t users, int64_t items, const ArrangeOptions& options,
                       bool want_input);

}  // namespace llmcf::data
