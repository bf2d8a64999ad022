// Inside of ExampleSearch: the views it keeps of a bundle, and the walk of a request's candidates
// through one label's lists. Included by example_search.cc alone.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "retrieval/kernels.h"
#include "retrieval/packed_pool.h"
#include "retrieval/selector.h"
#include "serve/example_search.h"
#include "serve/history_scan.h"
#include "serve/kernels.h"
#include "serve/scan_kernels.h"

namespace llmcf::serve {

namespace packed = retrieval::kernels;

inline constexpr int64_t kChunk =
    2 * packed::kPanelColumns;                            // groups whose products are made at once
inline constexpr int64_t kFirst = packed::kPanelColumns;  // groups before the lists are read
inline constexpr int64_t kFirstSorted = 512;              // groups that are put in order at first
inline constexpr int64_t kListPart = 32;                  // entries of a list that are read at once
inline constexpr int64_t kAhead = 6;   // candidates whose lists are asked for before they are read
inline constexpr float kAboveAll = 2;  // every similarity of unit vectors
inline constexpr double kRoundingPerStep = 1.2e-7;  // of a sum in single precision

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Vectors in row panels of retrieval/kernels.h; `vector_of(i)` is the i-th.
template <int64_t kLanes, typename VectorOf>
void pack(int64_t count, int64_t width, const VectorOf& vector_of, float* out) {
  for (int64_t i = 0; i < (count + kLanes - 1) / kLanes * kLanes; ++i) {
    float* lane = out + i / kLanes * kLanes * width + i % kLanes;
    const float* vector = i < count ? vector_of(i) : nullptr;
    for (int64_t k = 0; k < width; ++k)
      lane[k * kLanes] = vector == nullptr ? 0.0F : vector[k];
  }
}

struct ExampleSearch::Label {
  int label = 0;
  int64_t wanted = 0;                // slots
  std::span<const int32_t> example;  // by column; columns of a group are neighbours
  std::span<const int32_t> item;     // [G] what a group's examples are about
  std::span<const int32_t> begin;    // [G + 1] its columns

  int64_t columns() const { return static_cast<int64_t>(example.size()); }
  int64_t groups() const { return static_cast<int64_t>(item.size()); }
};

struct ExampleSearch::Fold {
  std::span<const float> items;    // [I + 1, V]
  std::span<const float> history;  // [N, V]
  HistoryScan scan[2];
  float error = 0;  // of the scans
};

// One that may be among the best of a candidate.
struct ExampleSearch::Found {
  float score;   // approximate, then exact
  float target;  // t(i).t(c)
  int32_t column;
  float history;  // h(q).h(c), once exact
};

// The walk of all candidates of a request through one label's lists.
class ExampleSearch::Walk {
 public:
  Walk(const ExampleSearch& search, const Label& label, const Catalogue& catalogue, int64_t fold,
       const float* history, std::span<const int32_t> candidates, ScratchArena& arena)
      : search_(search),
        label_(label),
        catalogue_(catalogue),
        fold_(fold),
        history_(history),
        candidates_(candidates),
        arena_(arena),
        a_(static_cast<float>(search.options_.history_weight)),
        b_(1.0F - a_),
        count_(static_cast<int64_t>(candidates.size())) {
    const Fold& vectors = search_.folds_[static_cast<size_t>(fold)];
    const double length = std::sqrt(packed::dot(history, history, search_.width_));
    margin_ = static_cast<float>(
        2 * a_ * length * (vectors.error + kRoundingPerStep * static_cast<double>(search_.width_)) +
        1e-6);
  }

  void run(SearchCost& cost) {
    auto start = std::chrono::steady_clock::now();
    scan();
    cost.scan_seconds += seconds_since(start);
    start = std::chrono::steady_clock::now();
    prepare();
    walk_first_groups(cost);
    cost.walk_seconds += seconds_since(start);
    start = std::chrono::steady_clock::now();
    walk_lists();
    cost.list_seconds += seconds_since(start);
    start = std::chrono::steady_clock::now();
    cost.open_after_lists += open_count_;
    if (scan_of_label().whole()) walk_groups(cost);
    cost.walk_seconds += seconds_since(start);
    start = std::chrono::steady_clock::now();
    rescore();
    cost.score_seconds += seconds_since(start);
  }

  std::vector<Found>& found_of(int64_t candidate) {
    return lists(label_.label)[static_cast<size_t>(candidate)];
  }

 private:
  // Kept by every thread: lists of all candidates, whatever label they are used for.
  static std::vector<std::vector<Found>>& lists(int label) {
    thread_local std::vector<std::vector<Found>> of[2];
    return of[label];
  }
  float* best_of(int64_t candidate) { return best_ + candidate * label_.wanted; }
  float threshold(int64_t candidate) { return best_of(candidate)[label_.wanted - 1]; }

  const HistoryScan& scan_of_label() const {
    return search_.folds_[static_cast<size_t>(fold_)].scan[label_.label];
  }

  // a h(q).h(c) of every column, and the largest of every group.
  void scan() {
    const int64_t columns = label_.columns(), groups = label_.groups();
    half_ = arena_.floats(retrieval::padded_columns(columns));
    most_ = arena_.floats(groups);
    if (a_ > 0) {
      scan_of_label().products(history_, arena_, half_);
      packed::scale_to(half_, half_, a_, columns);
    } else {
      std::fill_n(half_, columns, 0.0F);
    }
    for (int64_t g = 0; g < groups; ++g)
      most_[g] = *std::max_element(half_ + label_.begin[static_cast<size_t>(g)],
                                   half_ + label_.begin[static_cast<size_t>(g) + 1]);
  }

  void prepare() {
    auto& all = lists(label_.label);
    if (static_cast<int64_t>(all.size()) < count_) all.resize(static_cast<size_t>(count_));
    for (int64_t i = 0; i < count_; ++i)
      all[static_cast<size_t>(i)].clear();
    best_ = arena_.floats(count_ * label_.wanted);
    std::fill_n(best_, count_ * label_.wanted, static_cast<float>(search_.options_.min_similarity));
    last_ = arena_.floats(count_);
    open_ = arena_.span<int32_t>(count_);
    open_count_ = 0;
  }

  void offer(int64_t candidate, int32_t column, float target, float score) {
    float* best = best_of(candidate);
    int64_t slot = label_.wanted - 1;
    if (score < best[slot] - margin_) return;
    found_of(candidate).push_back({score, target, column, 0});
    if (score <= best[slot]) return;
    for (; slot > 0 && best[slot - 1] < score; --slot)
      best[slot] = best[slot - 1];
    best[slot] = score;
  }

  void offer_group(int64_t candidate, int32_t group, float target) {
    const float half = b_ * target;
    const auto at = static_cast<size_t>(group);
    for (int32_t column = label_.begin[at]; column < label_.begin[at + 1]; ++column)
      offer(candidate, column, target, half_[column] + half);
  }

  // Offers the examples of those of `count` groups whose largest sum is not below the floor.
  void take(int64_t candidate, const int32_t* groups, const float* targets, const float* sums,
            int64_t count, float floor) {
    const int64_t found = kernels::indices_above(sums, sums, 0, count, floor, kept_);
    for (int64_t i = 0; i < found; ++i)
      offer_group(candidate, groups[kept_[i]], targets[kept_[i]]);
  }

  // A group's largest sum is reached by one of its examples, so that sums of groups, merged with
  // what was found, bound the worst of the best. Valid until the next call.
  float* bound_of(int64_t candidate) {
    std::copy_n(best_of(candidate), label_.wanted, bound_);
    return bound_;
  }

  // The request's best groups, for all candidates. They are done with then: their largest halves
  // become nothing, so that no list offers them again.
  void walk_first_groups(SearchCost& cost) {
    for (int64_t i = 0; i < count_; ++i)
      open_[static_cast<size_t>(i)] = static_cast<int32_t>(i);
    open_count_ = count_;
    bound_ = arena_.floats(label_.wanted);
    kept_ = arena_.array<int32_t>(std::max(kChunk, label_.groups()));
    const int64_t count = std::min(kFirst, label_.groups());
    if (count == 0) return;
    sort_groups(count);
    const float* products = multiply(0, count, cost);
    float most[kFirst];
    for (int64_t i = 0; i < count; ++i)
      most[i] = most_[order_[i]];
    for (int64_t i = 0; i < count_; ++i) {
      float sums[kFirst];
      std::copy_n(most, count, sums);
      const float* targets = products + i * kChunk;
      kernels::add_scaled(sums, targets, b_, count);
      float* bound = bound_of(i);
      kernels::merge_largest(sums, count, bound, label_.wanted);
      take(i, order_, targets, sums, count, bound[label_.wanted - 1] - margin_);
    }
    for (int64_t i = 0; i < count; ++i)
      most_[order_[i]] = -std::numeric_limits<float>::infinity();
    rest_ = count < label_.groups() ? *std::max_element(most_, most_ + label_.groups())
                                    : -std::numeric_limits<float>::infinity();
  }

  void walk_lists() {
    float* sums = arena_.floats(label_.groups());
    open_count_ = 0;
    for (int64_t i = 0; i < count_; ++i) {
      if (i + kAhead < count_) fetch_list(i + kAhead);
      if (!closes_by_list(i, sums))
        open_[static_cast<size_t>(open_count_++)] = static_cast<int32_t>(i);
    }
  }

  // Asks for the beginning of a list: it lies anywhere in the bundle.
  void fetch_list(int64_t candidate) const {
    const Neighbours list =
        catalogue_.neighbours(fold_, label_.label, candidates_[static_cast<size_t>(candidate)]);
    for (size_t at = 0; at < std::min<size_t>(list.group.size(), 64); at += 16) {
      __builtin_prefetch(list.group.data() + at);
      __builtin_prefetch(list.similarity.data() + at);
    }
  }

  // The candidate's static list, from the top until neither it nor another group can count.
  bool closes_by_list(int64_t candidate, float* sums) {
    const Neighbours list =
        catalogue_.neighbours(fold_, label_.label, candidates_[static_cast<size_t>(candidate)]);
    const auto length = static_cast<int64_t>(list.group.size());
    float* bound = bound_of(candidate);
    const float& worst = bound[label_.wanted - 1];
    int64_t end = 0;
    while (end < length &&
           rest_ + b_ * list.similarity[static_cast<size_t>(end)] >= worst - margin_) {
      const int64_t size = std::min(kListPart, length - end);
      kernels::gathered_sums(most_, list.group.data() + end, list.similarity.data() + end, b_, size,
                             sums + end);
      kernels::merge_largest(sums + end, size, bound, label_.wanted);
      end += size;
    }
    take(candidate, list.group.data(), list.similarity.data(), sums, end, worst - margin_);
    last_[candidate] = length == 0 ? kAboveAll : list.similarity[static_cast<size_t>(length - 1)];
    return end < length || length == label_.groups();
  }

  // Puts the first `wanted` groups into the order of their largest half.
  void sort_groups(int64_t wanted) {
    const int64_t groups = label_.groups();
    if (order_ == nullptr) {
      order_ = arena_.array<int32_t>(groups);
      std::iota(order_, order_ + groups, 0);
    }
    if (wanted <= sorted_) return;
    const int64_t end = std::min(groups, sorted_ == 0 ? kFirstSorted : groups);
    const auto more = [this](int32_t left, int32_t right) { return most_[left] > most_[right]; };
    if (end < groups) std::nth_element(order_ + sorted_, order_ + end, order_ + groups, more);
    std::sort(order_ + sorted_, order_ + end, more);
    sorted_ = end;
  }

  // Drops the candidates that groups from `next` on cannot better.
  void close(int64_t next) {
    const float most = most_[order_[next]];
    int64_t kept = 0;
    for (int64_t i = 0; i < open_count_; ++i) {
      const int32_t candidate = open_[static_cast<size_t>(i)];
      if (most + b_ * last_[candidate] >= threshold(candidate) - margin_)
        open_[static_cast<size_t>(kept++)] = candidate;
    }
    open_count_ = kept;
  }

  // t(i).t(c) of the open candidates and the groups [next, next + count) of the order: rows of
  // kChunk, in the order of open_.
  const float* multiply(int64_t next, int64_t count, SearchCost& cost) {
    const int64_t width = search_.width_;
    if (products_ == nullptr) {
      columns_ = arena_.floats(kChunk * width);
      products_ = arena_.floats(count_ * kChunk);
      vectors_ = arena_.array<const float*>(count_);
    }
    pack<kernels::kPanel>(
        count, width,
        [&](int64_t i) {
          return catalogue_.vector(fold_, label_.item[static_cast<size_t>(order_[next + i])]);
        },
        columns_);
    for (int64_t i = 0; i < open_count_; ++i)
      vectors_[i] =
          catalogue_.vector(fold_, candidates_[static_cast<size_t>(open_[static_cast<size_t>(i)])]);
    kernels::dense(kernels::Panels{.data = columns_, .in = width, .out = count},
                   {.count = open_count_, .x_rows = vectors_, .y = products_, .y_stride = kChunk});
    cost.products += open_count_ * count;
    return products_;
  }

  void walk_groups(SearchCost& cost) {
    const int64_t groups = label_.groups();
    for (int64_t next = kFirst; next < groups && open_count_ > 0; next += kChunk) {
      sort_groups(std::min(groups, next + kChunk));
      close(next);
      const int64_t count = std::min(kChunk, groups - next);
      offer_chunk(next, count, multiply(next, count, cost));
    }
  }

  void offer_chunk(int64_t next, int64_t count, const float* products) {
    float most[kChunk];
    for (int64_t i = 0; i < count; ++i)
      most[i] = most_[order_[next + i]];
    for (int64_t row = 0; row < open_count_; ++row) {
      const int32_t candidate = open_[static_cast<size_t>(row)];
      const float* targets = products + row * kChunk;
      const int64_t found =
          kernels::indices_above(most, targets, b_, count, threshold(candidate) - margin_, kept_);
      for (int64_t i = 0; i < found; ++i) {
        const int32_t group = order_[next + kept_[i]];
        const float target = targets[kept_[i]];
        if (target > last_[candidate]) continue;  // was in the static list
        if (target == last_[candidate] && is_found(candidate, group)) continue;
        offer_group(candidate, group, target);
      }
    }
  }

  bool is_found(int64_t candidate, int32_t group) {
    const auto at = static_cast<size_t>(group);
    const auto& found = found_of(candidate);
    return std::any_of(found.begin(), found.end(), [&](const Found& one) {
      return one.column >= label_.begin[at] && one.column < label_.begin[at + 1];
    });
  }

  // Exact scores of what may be among the best; then the best in order, best first.
  void rescore() {
    const int64_t columns = label_.columns();
    float* exact = arena_.floats(columns);
    std::fill_n(exact, columns, std::numeric_limits<float>::quiet_NaN());
    auto missing = arena_.span<int32_t>(columns);
    auto ids = arena_.span<int32_t>(columns);
    auto values = arena_.span<float>(columns);
    int64_t count = 0;
    for (int64_t i = 0; i < count_; ++i) {
      auto& found = found_of(i);
      const float floor = threshold(i) - margin_;
      std::erase_if(found, [floor](const Found& one) { return one.score < floor; });
      for (const Found& one : found) {
        if (!std::isnan(exact[one.column])) continue;
        exact[one.column] = 0;
        missing[static_cast<size_t>(count)] = one.column;
        ids[static_cast<size_t>(count++)] = label_.example[static_cast<size_t>(one.column)];
      }
    }
    kernels::chained_dots(history_, search_.folds_[static_cast<size_t>(fold_)].history.data(),
                          ids.data(), count, search_.width_, 1, values.data());
    for (int64_t i = 0; i < count; ++i)
      exact[missing[static_cast<size_t>(i)]] = values[static_cast<size_t>(i)];
    const float floor = retrieval::Selector::floor_for(search_.options_.min_similarity);
    for (int64_t i = 0; i < count_; ++i) {
      auto& found = found_of(i);
      for (Found& one : found) {
        one.history = exact[one.column];
        one.score = one.history * a_ + one.target * b_;
      }
      std::erase_if(found, [floor](const Found& one) { return !(one.score > floor); });
      const auto wanted = std::min(found.size(), static_cast<size_t>(label_.wanted));
      std::partial_sort(found.begin(), found.begin() + static_cast<int64_t>(wanted), found.end(),
                        [this](const Found& left, const Found& right) {
                          return search_.better(label_, left, right);
                        });
      found.resize(wanted);
    }
  }

  const ExampleSearch& search_;
  const Label& label_;
  const Catalogue& catalogue_;
  int64_t fold_;
  const float* history_;
  std::span<const int32_t> candidates_;
  ScratchArena& arena_;
  float a_, b_;
  int64_t count_;
  float margin_ = 0;  // what two approximate scores may differ from the exact ones together

  float* half_ = nullptr;    // [columns] a h(q).h(c)
  float* most_ = nullptr;    // [G]
  float rest_ = 0;           // the largest of what walk_first_groups() left
  int32_t* kept_ = nullptr;  // scratch of indices
  float* bound_ = nullptr;   // [wanted], scratch
  float *columns_ = nullptr, *products_ = nullptr;
  const float** vectors_ = nullptr;
  float* best_ = nullptr;  // [C, wanted] approximate scores, descending
  float* last_ = nullptr;  // [C] similarity at the end of the static list
  std::span<int32_t> open_;
  int64_t open_count_ = 0;
  int32_t* order_ = nullptr;  // [G], the first sorted_ in order
  int64_t sorted_ = 0;
};

}  // namespace llmcf::serve
