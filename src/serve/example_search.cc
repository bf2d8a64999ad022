#include "serve/example_search.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"
#include "retrieval/history_vectors.h"
#include "retrieval/kernels.h"
#include "retrieval/packed_pool.h"
#include "serve/example_walk.h"
#include "serve/kernels.h"
#include "serve/scan_kernels.h"

namespace llmcf::serve {

namespace {

namespace packed = retrieval::kernels;

}  // namespace

Slots Slots::make(int64_t candidates, int64_t k, ScratchArena& arena) {
  Slots slots{.candidates = candidates, .k = k};
  const int64_t size = candidates * k;
  slots.ids = arena.array<int32_t>(size);
  std::fill_n(slots.ids, size, -1);
  slots.similarity = arena.zeros(size);
  slots.history_similarity = arena.zeros(size);
  slots.target_similarity = arena.zeros(size);
  slots.alignment = arena.zeros(candidates);
  return slots;
}

ExampleSearch::ExampleSearch(const Bundle& bundle)
    : width_(bundle.spec().retrieval_width),
      examples_(bundle.spec().examples),
      longest_(bundle.spec().neighbours),
      options_(bundle.spec().retrieval) {
  const SafetensorsReader& reader = bundle.reader();
  const BundleSpec& spec = bundle.spec();
  user_fold_ = reader.get<int32_t>("retrieval.user_fold", {spec.users + 1});
  time_ = bundle.examples().time;
  std::span<const float> errors, half_errors;
  if (examples_ > 0) {
    errors = reader.get<float>("retrieval.error", {spec.folds});
    half_errors = reader.get<float>("retrieval.half_error", {spec.folds});
  }
  folds_.resize(static_cast<size_t>(spec.folds));
  for (size_t f = 0; f < folds_.size(); ++f) {
    folds_[f].items =
        reader.get<float>(fmt::format("retrieval.items.{}", f), {spec.items + 1, width_});
    if (examples_ == 0) continue;
    folds_[f].history =
        reader.get<float>(fmt::format("retrieval.history.{}", f), {examples_, width_});
    folds_[f].error = errors[f];
    folds_[f].half_error = half_errors[f];
  }
  for (const int label : {1, 0}) {
    const int64_t wanted = label == 1 ? options_.wanted_positives() : options_.wanted_negatives();
    const auto name = fmt::format("retrieval.columns.{}", label);
    if (wanted == 0 || !reader.contains(name)) continue;
    Label& part = labels_.emplace_back();
    part.label = label;
    part.wanted = wanted;
    part.example = reader.get<int32_t>(name);
    part.item = reader.get<int32_t>(fmt::format("retrieval.group_item.{}", label));
    part.begin =
        reader.get<int32_t>(fmt::format("retrieval.group_begin.{}", label), {part.groups() + 1});
    for (size_t f = 0; f < folds_.size(); ++f)
      folds_[f].scan[label] =
          HistoryScan(reader, fmt::format("{}.{}", f, label), part.columns(), width_, spec.scan);
  }
}

ExampleSearch::~ExampleSearch() = default;

int64_t ExampleSearch::fold_of(int32_t user) const {
  return user_fold_[static_cast<size_t>(user)];
}

void ExampleSearch::history_vector(const Catalogue& catalogue, int64_t fold,
                                   std::span<const int32_t> history, float* out) const {
  std::fill_n(out, width_, 0.0F);
  if (history.empty()) return;
  for (const int32_t item : history)
    packed::add_to(out, catalogue.vector(fold, item), width_);
  packed::scale_to(out, out, 1.0F / static_cast<float>(history.size()), width_);
  if (options_.normalize) retrieval::scale_rows_to_unit({out, static_cast<size_t>(width_)}, width_);
}

void ExampleSearch::align(const Catalogue& catalogue, int64_t fold, const float* history,
                          std::span<const int32_t> candidates, Slots& slots) const {
  for (size_t i = 0; i < candidates.size(); ++i)
    slots.alignment[i] = packed::dot(history, catalogue.vector(fold, candidates[i]), width_);
}

bool ExampleSearch::better(const Label& label, const FoundExample& left,
                           const FoundExample& right) const {
  if (left.score != right.score) return left.score > right.score;
  const int32_t l = label.example[static_cast<size_t>(left.column)];
  const int32_t r = label.example[static_cast<size_t>(right.column)];
  const int64_t left_time = time_[static_cast<size_t>(l)],
                right_time = time_[static_cast<size_t>(r)];
  return left_time != right_time ? left_time > right_time : l < r;
}

namespace {

struct Placed {
  float score;
  int32_t example;
  float history, target;
};

bool worse(const Placed& left, const Placed& right, std::span<const int64_t> times) {
  if (left.score != right.score) return left.score < right.score;
  const int64_t l = times[static_cast<size_t>(left.example)],
                r = times[static_cast<size_t>(right.example)];
  return l != r ? l < r : left.example > right.example;
}

// From worst first to the order that the run wants.
void arrange(std::vector<Placed>& placed, const retrieval::RetrievalOptions& options,
             std::span<const int64_t> times, int64_t row) {
  switch (options.order) {
    case retrieval::Order::kSimilarLast:
      break;
    case retrieval::Order::kSimilarFirst:
      std::reverse(placed.begin(), placed.end());
      break;
    case retrieval::Order::kTime:
      std::stable_sort(placed.begin(), placed.end(), [&](const Placed& left, const Placed& right) {
        return times[static_cast<size_t>(left.example)] < times[static_cast<size_t>(right.example)];
      });
      break;
    case retrieval::Order::kRandom:
      Random(static_cast<uint64_t>(options.seed), fmt::format("retrieval.order/{}", row))
          .shuffle(placed);
      break;
  }
}

}  // namespace

void ExampleSearch::search(const Catalogue& catalogue, int64_t fold, const float* history,
                           std::span<const int32_t> candidates, ScratchArena& arena, Slots& slots,
                           SearchCost* cost) const {
  align(catalogue, fold, history, candidates, slots);
  const ScratchArena::Scope scope(arena);
  const kernels::DenormalsAreZero faster;
  SearchCost unused;
  SearchCost& told = cost == nullptr ? unused : *cost;
  std::vector<Walk> walks;
  walks.reserve(labels_.size());
  for (const Label& label : labels_) {
    walks.emplace_back(*this, label, catalogue, fold, history, candidates, arena);
    walks.back().run(told);
  }
  thread_local std::vector<Placed> placed;
  for (int64_t i = 0; i < slots.candidates; ++i) {
    placed.clear();
    for (Walk& walk : walks) {
      const auto found = walk.found_of(i);
      for (auto one = found.rbegin(); one != found.rend(); ++one) {
        const int32_t example = walk.label().example[static_cast<size_t>(one->column)];
        placed.push_back({one->score, example, one->history, one->target});
        // Labels are merged: each is in order.
        for (size_t at = placed.size() - 1; at > 0 && worse(placed[at], placed[at - 1], time_);
             --at)
          std::swap(placed[at], placed[at - 1]);
      }
    }
    arrange(placed, options_, time_, i);
    auto slot = (i + 1) * slots.k - static_cast<int64_t>(placed.size());
    for (const Placed& one : placed) {
      slots.ids[slot] = one.example;
      slots.similarity[slot] = one.score;
      slots.history_similarity[slot] = one.history;
      slots.target_similarity[slot] = one.target;
      ++slot;
    }
  }
}

std::vector<AddedItem::List> ExampleSearch::lists_for(
    const std::vector<std::vector<float>>& vectors) const {
  std::vector<AddedItem::List> lists(vectors.size() * 2);
  for (size_t fold = 0; fold < vectors.size(); ++fold)
    for (const Label& label : labels_) {
      AddedItem::List& list = lists[fold * 2 + static_cast<size_t>(label.label)];
      const int64_t groups = label.groups();
      std::vector<float> products(static_cast<size_t>(groups));
      kernels::chained_dots(vectors[fold].data(), folds_[fold].items.data(), label.item.data(),
                            groups, width_, 1, products.data());
      list.group.resize(static_cast<size_t>(groups));
      std::iota(list.group.begin(), list.group.end(), 0);
      const int64_t length = std::min(groups, longest_);
      std::partial_sort(list.group.begin(), list.group.begin() + length, list.group.end(),
                        [&](int32_t left, int32_t right) {
                          const float l = products[static_cast<size_t>(left)],
                                      r = products[static_cast<size_t>(right)];
                          return l != r ? l > r : left < right;
                        });
      list.group.resize(static_cast<size_t>(length));
      list.group.shrink_to_fit();
      for (const int32_t group : list.group)
        list.similarity.push_back(products[static_cast<size_t>(group)]);
    }
  return lists;
}

}  // namespace llmcf::serve
