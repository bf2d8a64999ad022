#include "data/event_log.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/threads.h"

namespace llmcf::data {

namespace {

// Positions in the log in order of (user, time, input), and where each user's begin [users + 1].
struct Order {
  std::vector<uint32_t> event;
  std::vector<int64_t> begin;
};

Order order_events(const EventLog& log, int64_t users) {
  if (log.size() > std::numeric_limits<uint32_t>::max())
    throw Error("more than 4,294,967,295 interactions; split the data set");
  Order order;
  order.begin.assign(static_cast<size_t>(users) + 1, 0);
  for (const int32_t user : log.user)
    ++order.begin[static_cast<size_t>(user) + 1];
  for (size_t user = 0; user < static_cast<size_t>(users); ++user)
    order.begin[user + 1] += order.begin[user];
  order.event.resize(log.user.size());
  std::vector<int64_t> next(order.begin.begin(), order.begin.end() - 1);
  for (size_t event = 0; event < log.user.size(); ++event)
    order.event[static_cast<size_t>(next[static_cast<size_t>(log.user[event])]++)] =
        static_cast<uint32_t>(event);
  const auto earlier = [&](uint32_t a, uint32_t b) { return log.time[a] < log.time[b]; };
  parallel_for(users, 256, [&](int64_t first, int64_t last) {
    for (int64_t user = first; user < last; ++user) {
      const auto from = order.event.begin() + order.begin[static_cast<size_t>(user)];
      const auto to = order.event.begin() + order.begin[static_cast<size_t>(user) + 1];
      if (!std::is_sorted(from, to, earlier)) std::stable_sort(from, to, earlier);
    }
  });
  return order;
}

// Which events stay.
class Filter {
 public:
  Filter(const EventLog& log, const Order& order, int64_t users, int64_t items)
      : log_(log),
        order_(order),
        users_(static_cast<size_t>(users)),
        items_(static_cast<size_t>(items)),
        keep_(log.user.size(), 1) {}

  int64_t deduplicate() {
    std::vector<int32_t> last_user(items_, -1);
    int64_t dropped = 0;
    for (size_t at = 0; at < keep_.size(); ++at) {
      const uint32_t event = order_.event[at];
      int32_t& seen = last_user[static_cast<size_t>(log_.item[event])];
      if (seen == log_.user[event]) {
        keep_[at] = 0;
        ++dropped;
      }
      seen = log_.user[event];
    }
    return dropped;
  }

  int64_t core(int64_t k) {
    std::vector<int64_t> of_user(users_, 0);
    std::vector<int64_t> of_item(items_, 0);
    for_kept([&](size_t, size_t user, size_t item) {
      ++of_user[user];
      ++of_item[item];
    });
    int64_t dropped = 0;
    for (int64_t before = -1; before != dropped;) {
      before = dropped;
      for_kept([&](size_t at, size_t user, size_t item) {
        if (of_user[user] >= k && of_item[item] >= k) return;
        keep_[at] = 0;
        --of_user[user];
        --of_item[item];
        ++dropped;
      });
    }
    return dropped;
  }

  template <typename F>
  void for_kept(F&& f) const {
    for (size_t at = 0; at < keep_.size(); ++at) {
      if (keep_[at] == 0) continue;
      const uint32_t event = order_.event[at];
      f(at, static_cast<size_t>(log_.user[event]), static_cast<size_t>(log_.item[event]));
    }
  }

 private:
  const EventLog& log_;
  const Order& order_;
  size_t users_;
  size_t items_;
  std::vector<uint8_t> keep_;  // by place in the order
};

// Numbers the kept entities from 1 in their old order; `rows` becomes new id -> old number.
std::vector<int32_t> renumber(const std::vector<uint8_t>& kept, std::vector<int64_t>& rows) {
  std::vector<int32_t> ids(kept.size(), 0);
  rows.assign(1, -1);
  for (size_t old = 0; old < kept.size(); ++old) {
    if (kept[old] == 0) continue;
    ids[old] = static_cast<int32_t>(rows.size());
    rows.push_back(static_cast<int64_t>(old));
  }
  return ids;
}

template <typename T>
void release(std::vector<T>& values) {
  std::vector<T>().swap(values);
}

template <typename T>
std::vector<T> gather(const std::vector<T>& values, const std::vector<uint32_t>& from) {
  std::vector<T> gathered(from.size());
  parallel_for(static_cast<int64_t>(from.size()), 1 << 16, [&](int64_t begin, int64_t end) {
    for (auto at = static_cast<size_t>(begin); at < static_cast<size_t>(end); ++at)
      gathered[at] = values[from[at]];
  });
  return gathered;
}

}  // namespace

ArrangedEvents arrange(EventLog&& log, int64_t users, int64_t items, const ArrangeOptions& options,
                       bool want_input) {
  ArrangedEvents out;
  Order order = order_events(log, users);
  Filter filter(log, order, users, items);
  if (options.deduplicate) out.duplicates = filter.deduplicate();
  if (options.k_core > 0) out.dropped_by_core = filter.core(options.k_core);

  std::vector<uint8_t> user_kept(static_cast<size_t>(users), 0);
  std::vector<uint8_t> item_kept(static_cast<size_t>(items), 0);
  std::vector<uint32_t> kept;
  kept.reserve(static_cast<size_t>(log.size() - out.duplicates - out.dropped_by_core));
  filter.for_kept([&](size_t at, size_t user, size_t item) {
    user_kept[user] = item_kept[item] = 1;
    kept.push_back(order.event[at]);
  });
  release(order.event);
  if (options.k_core == 0 && options.keep_untouched_items) {
    out.untouched_items = std::count(item_kept.begin(), item_kept.end(), 0);
    std::fill(item_kept.begin(), item_kept.end(), 1);
  }
  const std::vector<int32_t> user_ids = renumber(user_kept, out.user_row);
  const std::vector<int32_t> item_ids = renumber(item_kept, out.item_row);

  out.user_offsets.assign(out.user_row.size() + 1, 0);
  for (const uint32_t event : kept)
    ++out.user_offsets[static_cast<size_t>(user_ids[static_cast<size_t>(log.user[event])]) + 1];
  for (size_t user = 1; user < out.user_offsets.size(); ++user)
    out.user_offsets[user] += out.user_offsets[user - 1];
  release(log.user);
  out.item = gather(log.item, kept);
  release(log.item);
  for (int32_t& item : out.item)
    item = item_ids[static_cast<size_t>(item)];
  out.time = gather(log.time, kept);
  release(log.time);
  if (!log.rating.empty()) out.rating = gather(log.rating, kept);
  release(log.rating);
  if (want_input) out.input.assign(kept.begin(), kept.end());
  return out;
}

}  // namespace llmcf::data
