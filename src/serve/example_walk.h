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
#include "serve/found_examples.h"
#include "serve/history_scan.h"
#include "serve/kernels.h"
#include "serve/scan_kernels.h"

namespace llmcf::serve {

namespace packed = retrieval::kernels;

inline constexpr int64_t kChunk =
    2 * packed::kPanelColumns;  // groups whose products are made at once
// Groups that come before the lists: where examples lie in cells nothing comes after the lists, and
// what the first groups leave out is missed.
inline constexpr int64_t kFirst = packed::kPanelColumns, kFirstOfCells = 4 * kFirst;
inline constexpr int64_t kFirstSorted = 512;  // groups that are put in order at first
inline constexpr int64_t kManyExamples = 16;  // of a group
inline constexpr int64_t kAhead = 16;  // candidates whose lists are asked for before they are read
inline constexpr int64_t kMostFetched = 4 * Neighbours::kPart;
inline constexpr float kAboveAll = 2;               // every similarity of unit vectors
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
  float error = 0, half_error = 0;  // of the scans
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
    const double rounding = kRoundingPerStep * static_cast<double>(search_.width_);
    const auto margin = [&](double error) {
      return static_cast<float>(2 * a_ * length * (error + rounding) + 1e-6);
    };
    margin_ = margin(vectors.error);
    half_margin_ = margin(vectors.half_error);
  }

  void run(SearchCost& cost) {
    auto start = std::chrono::steady_clock::now();
    scan();
    cost.scan_seconds += seconds_since(start);
    start = std::chrono::steady_clock::now();
    prepare();
    take_first_groups(cost);
    cost.walk_seconds += seconds_since(start);
    start = std::chrono::steady_clock::now();
    visit_candidates();
    cost.list_seconds += seconds_since(start);
    start = std::chrono::steady_clock::now();
    cost.open_after_lists += open_count_;
    if (scan_of_label().whole()) walk_groups(cost);
    cost.walk_seconds += seconds_since(start);
    start = std::chrono::steady_clock::now();
    if (!scan_of_label().whole() && a_ > 0) read_found();
    cost.rescored += rescore();
    cost.score_seconds += seconds_since(start);
  }

  // The best, best first.
  std::span<const FoundExample> found_of(int64_t candidate) { return found().of(candidate); }
  const Label& label() const { return label_; }

 private:
  FoundExamples& found() {
    thread_local FoundExamples of[2];
    return of[label_.label];
  }
  float* best_of(int64_t candidate) { return best_ + candidate * label_.wanted; }
  float threshold(int64_t candidate) { return best_of(candidate)[label_.wanted - 1]; }

  const HistoryScan& scan_of_label() const {
    return search_.folds_[static_cast<size_t>(fold_)].scan[label_.label];
  }

  // a h(q).h(c) of every column, and the largest of every group.
  void scan() {
    const int64_t columns = label_.columns();
    half_ = arena_.floats(retrieval::padded_columns(columns));
    most_ = arena_.floats(label_.groups());
    if (a_ > 0) {
      float* scaled = arena_.floats(search_.width_);
      packed::scale_to(scaled, history_, a_, search_.width_);
      scan_of_label().products(scaled, arena_, half_);
    } else {
      std::fill_n(half_, columns, 0.0F);
    }
    kernels::largest_of_groups(half_, label_.begin.data(), label_.groups(), most_);
  }

  void prepare() {
    found().reset(count_);
    best_ = arena_.floats(count_ * label_.wanted);
    forget_best();
    last_ = arena_.floats(count_);
    open_ = arena_.span<int32_t>(count_);
    std::iota(open_.begin(), open_.end(), 0);
    open_count_ = count_;
    bound_ = arena_.floats(label_.wanted);
    kept_ = arena_.array<int32_t>(std::max(kFirstOfCells, label_.groups()));
    columns_above_ = arena_.array<int32_t>(label_.columns());
  }

  void forget_best() {
    std::fill_n(best_, count_ * label_.wanted, static_cast<float>(search_.options_.min_similarity));
  }

  void enter(int64_t candidate, float score) {
    float* best = best_of(candidate);
    int64_t slot = label_.wanted - 1;
    if (score <= best[slot]) return;
    for (; slot > 0 && best[slot - 1] < score; --slot)
      best[slot] = best[slot - 1];
    best[slot] = score;
  }

  void offer(int64_t candidate, int32_t column, float target, float score) {
    if (score < threshold(candidate) - margin_) return;
    found().add(candidate, {score, target, column, 0});
    enter(candidate, score);
  }

  void offer_group(int64_t candidate, int32_t group, float target) {
    const float half = b_ * target;
    const int32_t first = label_.begin[static_cast<size_t>(group)];
    const int64_t count = label_.begin[static_cast<size_t>(group) + 1] - first;
    if (count < kManyExamples) {
      for (int32_t column = first; column < first + count; ++column)
        offer(candidate, column, target, half_[column] + half);
      return;
    }
    const int64_t above =
        kernels::indices_above(half_ + first, half_ + first, 0, count,
                               threshold(candidate) - margin_ - half, columns_above_);
    for (int64_t i = 0; i < above; ++i) {
      const int32_t column = first + columns_above_[i];
      offer(candidate, column, target, half_[column] + half);
    }
  }

  // Offers the examples of those of `count` groups whose largest sum is not below the floor.
  void take(int64_t candidate, const int32_t* groups, const float* targets, const float* sums,
            int64_t count, float floor) {
    const int64_t found = kernels::indices_above(sums, sums, 0, count, floor, kept_);
    for (int64_t i = 0; i < found; ++i)
      offer_group(candidate, groups[kept_[i]], targets[kept_[i]]);
  }

  // The request's best groups, with t(i).t(c) for all candidates. They are done with then: their
  // largest halves become nothing, so that no list offers them again.
  void take_first_groups(SearchCost& cost) {
    const int64_t groups = label_.groups();
    first_count_ = std::min(scan_of_label().whole() ? kFirst : kFirstOfCells, groups);
    std::fill_n(first_most_, kFirstOfCells, -std::numeric_limits<float>::infinity());
    if (first_count_ == 0) return;
    const float floor = kernels::bound_of_largest(most_, groups, first_count_);
    const int64_t above = kernels::indices_above(most_, most_, 0, groups, floor, kept_);
    std::nth_element(kept_, kept_ + first_count_ - 1, kept_ + above, More{most_});
    std::copy_n(kept_, first_count_, first_);
    first_products_ = multiply({first_, static_cast<size_t>(first_count_)}, cost);
    for (int64_t i = 0; i < first_count_; ++i) {
      first_most_[i] = most_[first_[i]];
      most_[first_[i]] = -std::numeric_limits<float>::infinity();
    }
    rest_ = kernels::largest(most_, groups);
  }

  void visit_candidates() {
    float* sums = arena_.floats(kFirstOfCells + label_.groups());
    open_count_ = 0;
    for (int64_t i = 0; i < count_; ++i) {
      if (i + kAhead < count_) fetch_list(i + kAhead);
      if (!closes_by_list(i, sums))
        open_[static_cast<size_t>(open_count_++)] = static_cast<int32_t>(i);
    }
  }

  // Asks for as much of a list as the last candidate read: it lies anywhere in the bundle.
  void fetch_list(int64_t candidate) const {
    const Neighbours list =
        catalogue_.neighbours(fold_, label_.label, candidates_[static_cast<size_t>(candidate)]);
    for (int64_t begin = 0; begin < std::min(list.length, fetched_); begin += Neighbours::kPart)
      for (const int64_t at : {int64_t{0}, Neighbours::kPart / 2}) {
        __builtin_prefetch(list.groups_from(begin) + at);
        __builtin_prefetch(list.similarities_from(begin) + at);
      }
  }

  // The request's best groups and the candidate's static list, from the top until neither it nor
  // another group can count. A group's largest sum is reached by one of its examples, so that the
  // largest sums of groups bound the worst of the best.
  bool closes_by_list(int64_t candidate, float* sums) {
    const Neighbours list =
        catalogue_.neighbours(fold_, label_.label, candidates_[static_cast<size_t>(candidate)]);
    std::copy_n(best_of(candidate), label_.wanted, bound_);
    const float& worst = bound_[label_.wanted - 1];
    const float* first_targets = first_products_ + candidate * kernels::padded(first_count_);
    std::copy_n(first_most_, first_count_, sums);
    kernels::add_scaled(sums, first_targets, b_, first_count_);
    kernels::merge_largest(sums, first_count_, bound_, label_.wanted);
    float* listed = sums + kFirstOfCells;
    int64_t end = 0;
    // What a part holds is at most what the part before ended with, which the cache has.
    float most_similar = kAboveAll;
    while (end < list.length && rest_ + b_ * most_similar >= worst - margin_) {
      const int64_t size = std::min(Neighbours::kPart, list.length - end);
      kernels::gathered_sums(most_, list.groups_from(end), list.similarities_from(end), b_, size,
                             listed + end);
      kernels::merge_largest(listed + end, size, bound_, label_.wanted);
      most_similar = list.similarities_from(end)[size - 1];
      end += size;
    }
    fetched_ = std::clamp(end, Neighbours::kPart, kMostFetched);
    const float floor = worst - margin_;
    take(candidate, first_, first_targets, sums, first_count_, floor);
    for (int64_t at = 0; at < end; at += Neighbours::kPart)
      take(candidate, list.groups_from(at), list.similarities_from(at), listed + at,
           std::min(Neighbours::kPart, end - at), floor);
    const bool closed = end < list.length || list.length == label_.groups();
    // Read where it is needed only: a list's end is seldom in the cache.
    if (!closed) last_[candidate] = list.length == 0 ? kAboveAll : list.last_similarity();
    return closed;
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
    if (end < groups)
      std::nth_element(order_ + sorted_, order_ + end, order_ + groups, More{most_});
    std::sort(order_ + sorted_, order_ + end, More{most_});
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

  // t(i).t(c) of the open candidates and these groups: rows of padded(groups), in the order of
  // open_.
  const float* multiply(std::span<const int32_t> groups, SearchCost& cost) {
    const int64_t width = search_.width_;
    const auto count = static_cast<int64_t>(groups.size());
    if (columns_ == nullptr) {
      columns_ = arena_.floats(std::max(kChunk, kFirstOfCells) * width);
      vectors_ = arena_.array<const float*>(count_);
    }
    pack<kernels::kPanel>(
        count, width,
        [&](int64_t i) {
          return catalogue_.vector(
              fold_, label_.item[static_cast<size_t>(groups[static_cast<size_t>(i)])]);
        },
        columns_);
    for (int64_t i = 0; i < open_count_; ++i)
      vectors_[i] =
          catalogue_.vector(fold_, candidates_[static_cast<size_t>(open_[static_cast<size_t>(i)])]);
    const int64_t stride = kernels::padded(count);
    float* products = arena_.floats(open_count_ * stride);
    kernels::dense(kernels::Panels{.data = columns_, .in = width, .out = count},
                   {.count = open_count_, .x_rows = vectors_, .y = products, .y_stride = stride});
    cost.products += open_count_ * count;
    return products;
  }

  void walk_groups(SearchCost& cost) {
    const int64_t groups = label_.groups();
    for (int64_t next = 0; next < groups && open_count_ > 0; next += kChunk) {
      sort_groups(std::min(groups, next + kChunk));
      close(next);
      if (open_count_ == 0) return;
      const ScratchArena::Scope scope(arena_);
      const std::span chunk(order_ + next, static_cast<size_t>(std::min(kChunk, groups - next)));
      offer_chunk(chunk, multiply(chunk, cost));
    }
  }

  void offer_chunk(std::span<const int32_t> groups, const float* products) {
    float most[kChunk];
    for (size_t i = 0; i < groups.size(); ++i)
      most[i] = most_[groups[i]];
    for (int64_t row = 0; row < open_count_; ++row) {
      const int32_t candidate = open_[static_cast<size_t>(row)];
      const float* targets = products + row * kernels::padded(static_cast<int64_t>(groups.size()));
      const int64_t found =
          kernels::indices_above(most, targets, b_, static_cast<int64_t>(groups.size()),
                                 threshold(candidate) - margin_, kept_);
      for (int64_t i = 0; i < found; ++i) {
        const int32_t group = groups[static_cast<size_t>(kept_[i])];
        const float target = targets[kept_[i]];
        if (target > last_[candidate]) continue;  // was in the static list
        if (target == last_[candidate] && is_found(candidate, group)) continue;
        offer_group(candidate, group, target);
      }
    }
  }

  bool is_found(int64_t candidate, int32_t group) {
    const auto at = static_cast<size_t>(group);
    const auto found = found_of(candidate);
    return std::any_of(found.begin(), found.end(), [&](const FoundExample& one) {
      return one.column >= label_.begin[at] && one.column < label_.begin[at + 1];
    });
  }

  // Drops what cannot be among the best; then calls with every column that is left, once.
  template <typename Use>
  void for_columns_left(const Use& use) {
    auto seen = arena_.span<uint8_t>(label_.columns());
    std::fill(seen.begin(), seen.end(), uint8_t{0});
    for (int64_t i = 0; i < count_; ++i) {
      const float floor = threshold(i) - margin_;
      found().drop_if(i, [floor](const FoundExample& one) { return one.score < floor; });
      for (const FoundExample& one : found_of(i))
        if (uint8_t& known = seen[static_cast<size_t>(one.column)]; known == 0) {
          known = 1;
          use(one.column);
        }
    }
  }

  // Where examples lie in cells: reads the vectors of what was found. Their scores and what bounds
  // the best are those of half precision then.
  void read_found() {
    auto columns = arena_.span<int32_t>(label_.columns());
    size_t count = 0;
    for_columns_left([&](int32_t column) { columns[count++] = column; });
    float* products = arena_.floats(static_cast<int64_t>(count));
    scan_of_label().products_of(history_, columns.first(count), arena_, products);
    for (size_t i = 0; i < count; ++i)
      half_[columns[i]] = a_ * products[i];
    margin_ = half_margin_;
    forget_best();
    for (int64_t i = 0; i < count_; ++i)
      for (FoundExample& one : found().of(i)) {
        one.score = half_[one.column] + b_ * one.target;
        enter(i, one.score);
      }
  }

  // Exact scores of what may be among the best; then the best in order, best first.
  int64_t rescore() {
    const int64_t columns = label_.columns();
    auto left = arena_.span<int32_t>(columns), ids = arena_.span<int32_t>(columns);
    size_t count = 0;
    for_columns_left([&](int32_t column) {
      left[count] = column;
      ids[count++] = label_.example[static_cast<size_t>(column)];
    });
    const auto size = static_cast<int64_t>(count);
    float* products = arena_.floats(size);
    kernels::chained_dots(history_, search_.folds_[static_cast<size_t>(fold_)].history.data(),
                          ids.data(), size, search_.width_, 1, products);
    float* exact = arena_.floats(columns);  // of the columns that are left
    for (size_t i = 0; i < count; ++i)
      exact[left[i]] = products[i];
    for (int64_t i = 0; i < count_; ++i)
      keep_best(i, exact);
    return size;
  }

  void keep_best(int64_t candidate, const float* exact) {
    for (FoundExample& one : found().of(candidate)) {
      one.history = exact[one.column];
      one.score = one.history * a_ + one.target * b_;
    }
    const float floor = retrieval::Selector::floor_for(search_.options_.min_similarity);
    found().drop_if(candidate, [floor](const FoundExample& one) { return !(one.score > floor); });
    const auto all = found().of(candidate);
    const auto better = [this](const FoundExample& left, const FoundExample& right) {
      return search_.better(label_, left, right);
    };
    const auto wanted =
        static_cast<int64_t>(std::min(all.size(), static_cast<size_t>(label_.wanted)));
    if (static_cast<int64_t>(all.size()) > 2 * label_.wanted)
      std::partial_sort(all.begin(), all.begin() + wanted, all.end(), better);
    else
      std::sort(all.begin(), all.end(), better);
    found().keep_first(candidate, static_cast<size_t>(wanted));
  }

  struct More {  // groups with larger halves first
    const float* most;
    bool operator()(int32_t left, int32_t right) const { return most[left] > most[right]; }
  };

  const ExampleSearch& search_;
  const Label& label_;
  const Catalogue& catalogue_;
  int64_t fold_;
  const float* history_;
  std::span<const int32_t> candidates_;
  ScratchArena& arena_;
  float a_, b_;
  int64_t count_;
  // What two approximate scores may differ from the exact ones together: of the scan, and of
  // vectors in half precision.
  float margin_ = 0, half_margin_ = 0;

  float* half_ = nullptr;                 // [columns] a h(q).h(c)
  float* most_ = nullptr;                 // [G]
  float rest_ = 0;                        // the largest of what take_first_groups() left
  int32_t first_[kFirstOfCells] = {};     // the request's best groups
  float first_most_[kFirstOfCells] = {};  // their largest halves
  int64_t first_count_ = 0;
  const float* first_products_ = nullptr;               // [C, rows of multiply()] their t(i).t(c)
  int32_t *kept_ = nullptr, *columns_above_ = nullptr;  // scratch of indices
  float* bound_ = nullptr;                              // [wanted], scratch
  float* columns_ = nullptr;                            // scratch of multiply()
  const float** vectors_ = nullptr;
  float* best_ = nullptr;  // [C, wanted] approximate scores, descending
  float* last_ = nullptr;  // [C] similarity at the end of an open candidate's static list
  int64_t fetched_ = Neighbours::kPart;  // entries of the next lists that are asked for
  std::span<int32_t> open_;
  int64_t open_count_ = 0;
  int32_t* order_ = nullptr;  // [G], the first sorted_ in order
  int64_t sorted_ = 0;
};

}  // namespace llmcf::serve
