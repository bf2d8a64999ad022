// Slot filling: merge the labels, order, look up the two halves of each score.
#include "retrieval/slots.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/random.h"
#include "retrieval/kernels.h"

namespace llmcf::retrieval {

namespace {

template <typename T>
auto slice(T& values, int64_t index, int64_t length) {
  return std::span(values).subspan(static_cast<size_t>(index * length),
                                   static_cast<size_t>(length));
}

struct Found {
  float score;
  int64_t time;
  int32_t example;
};

// Worse before better; the same total order as the search itself.
bool worse(const Found& left, const Found& right) {
  if (left.score != right.score) return left.score < right.score;
  if (left.time != right.time) return left.time < right.time;
  return left.example > right.example;
}

std::vector<Found> found_examples(const PackedPool& pool, const BestColumns& best, int64_t query) {
  std::vector<Found> found;
  for (size_t g = 0; g < pool.groups.size(); ++g) {
    const LabelGroup& group = pool.groups[g];
    const auto scores = best.scores(g, query);
    const auto columns = best.columns(g, query);
    for (size_t i = 0; i < columns.size() && columns[i] >= 0; ++i) {
      const auto column = static_cast<size_t>(columns[i]);
      found.push_back({scores[i], group.time[column], group.example[column]});
    }
  }
  std::sort(found.begin(), found.end(), worse);
  return found;
}

// From worst first to the wanted order.
void arrange(std::vector<Found>& found, const RetrievalOptions& options, int64_t row) {
  switch (options.order) {
    case Order::kSimilarLast:
      break;
    case Order::kSimilarFirst:
      std::reverse(found.begin(), found.end());
      break;
    case Order::kTime:
      std::stable_sort(found.begin(), found.end(), [](const Found& left, const Found& right) {
        return left.time < right.time;
      });
      break;
    case Order::kRandom:
      Random(static_cast<uint64_t>(options.seed), fmt::format("retrieval.order/{}", row))
          .shuffle(found);
      break;
  }
}

}  // namespace

BestColumns::BestColumns(const PackedPool& pool, int64_t queries, double min_similarity) {
  for (const LabelGroup& group : pool.groups) {
    const auto slots = static_cast<size_t>(queries * group.wanted);
    groups_.push_back({.wanted = group.wanted,
                       .info = group.info(),
                       .scores = std::vector<float>(slots, Selector::floor_for(min_similarity)),
                       .columns = std::vector<int32_t>(slots, -1)});
  }
}

Selector BestColumns::selector(size_t group, int64_t query) {
  Group& g = groups_[group];
  return {slice(g.scores, query, g.wanted), slice(g.columns, query, g.wanted), g.info};
}

std::span<const float> BestColumns::scores(size_t group, int64_t query) const {
  return slice(groups_[group].scores, query, groups_[group].wanted);
}

std::span<const int32_t> BestColumns::columns(size_t group, int64_t query) const {
  return slice(groups_[group].columns, query, groups_[group].wanted);
}

Assignment empty_assignment(int64_t rows, int64_t k) {
  Assignment result;
  result.rows = rows;
  result.k = k;
  const auto slots = static_cast<size_t>(rows * k);
  result.ids.assign(slots, -1);
  result.similarity.assign(slots, 0);
  result.history_similarity.assign(slots, 0);
  result.target_similarity.assign(slots, 0);
  result.alignment.assign(static_cast<size_t>(rows), 0);
  return result;
}

void fill_slots(const PackedPool& pool, const Texts& texts, const RetrievalOptions& options,
                const BestColumns& best, const SlotSource& source, int64_t row, Assignment& out) {
  std::vector<Found> found = found_examples(pool, best, source.query);
  arrange(found, options, row);
  const auto target_of = [&](int32_t item) { return texts.row(item).data(); };
  out.alignment[static_cast<size_t>(row)] =
      kernels::dot(source.history, target_of(source.item), texts.width);
  auto slot = static_cast<size_t>((row + 1) * out.k) - found.size();
  for (const Found& example : found) {
    const auto id = static_cast<size_t>(example.example);
    const float* history = pool.history.data() + static_cast<int64_t>(id) * texts.width;
    out.ids[slot] = example.example;
    out.similarity[slot] = example.score;
    out.history_similarity[slot] = kernels::dot(source.history, history, texts.width);
    out.target_similarity[slot] =
        kernels::dot(target_of(source.item), target_of(pool.item[id]), texts.width);
    ++slot;
  }
}

int32_t last_own_position(const RetrievalOptions& options, int32_t position) {
  return options.exclude_self || options.time_safe ? position - 1 : position;
}

}  // namespace llmcf::retrieval
