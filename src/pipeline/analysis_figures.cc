// Agreement, similarity and use of the pool over sets of rows.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/random.h"
#include "pipeline/analysis.h"
#include "pipeline/rank_statistics.h"
#include "train/metrics.h"

namespace llmcf::pipeline {

namespace {

using Rows = std::vector<int64_t>;

struct Mean {
  double sum = 0, weight = 0;

  void add(double value, double times = 1) {
    sum += value * times;
    weight += times;
  }
  double value() const { return weight == 0 ? kNoFigure : sum / weight; }
};

class Figures {
 public:
  Figures(const AnalysisColumns& columns, const AnalysisOptions& options)
      : columns_(columns), options_(options) {
    const retrieval::Assignment& assignment = columns.assignment;
    scores_ = scores_by(assignment.similarity);
    history_scores_ = scores_by(assignment.history_similarity);
    target_scores_ = scores_by(assignment.target_similarity);
    for (int64_t row = 0; row < assignment.rows; ++row) {
      const auto ids = assignment.ids_of(row);
      if (std::any_of(ids.begin(), ids.end(), [](int32_t id) { return id >= 0; }))
        filled_.push_back(row);
    }
    // Every row that has examples looks at those of another such row.
    other_.resize(static_cast<size_t>(assignment.rows));
    std::iota(other_.begin(), other_.end(), int64_t{0});
    Rows drawn = filled_;
    Random(static_cast<uint64_t>(options.seed), "pipeline.analysis.shuffled").shuffle(drawn);
    for (size_t i = 0; i < filled_.size(); ++i)
      other_[static_cast<size_t>(filled_[i])] = drawn[i];
  }

  RetrievalFigures of(const std::string& name, const Rows& rows) const {
    RetrievalFigures figures;
    figures.name = name;
    figures.rows = static_cast<int64_t>(rows.size());
    add_similarity(rows, figures);
    add_auc(rows, figures);
    add_labels(rows, figures);
    add_uses(uses(rows), figures);
    for (const Attribute& attribute : columns_.attributes)
      figures.attributes.push_back(
          {attribute.name, share_of(attribute, rows, false), share_of(attribute, rows, true)});
    return figures;
  }

  std::vector<int64_t> uses(const Rows& rows) const {
    std::vector<int64_t> uses(columns_.pool_labels.size(), 0);
    each_slot(rows, false, [&](int64_t, int32_t id, float) { ++uses[static_cast<size_t>(id)]; });
    return uses;
  }

 private:
  bool positive(int32_t id) const { return columns_.pool_labels[static_cast<size_t>(id)] > 0.5F; }

  // slot(row, example, similarity) for every filled slot; shuffled: of the other row.
  template <typename Slot>
  void each_slot(const Rows& rows, bool shuffled, Slot slot) const {
    for (const int64_t row : rows) {
      const int64_t from = shuffled ? other_[static_cast<size_t>(row)] : row;
      const auto ids = columns_.assignment.ids_of(from);
      const auto similarity = columns_.assignment.similarity_of(from);
      for (size_t at = 0; at < ids.size(); ++at) {
        if (ids[at] >= 0) slot(row, ids[at], similarity[at]);
      }
    }
  }

  // Per row: mean similarity to its positive examples minus to its negative ones; NaN if it lacks
  // either. `similarity`: [Q, K].
  std::vector<float> scores_by(const std::vector<float>& similarity) const {
    const auto k = static_cast<size_t>(columns_.assignment.k);
    std::vector<float> scores;
    for (int64_t row = 0; row < columns_.assignment.rows; ++row) {
      Mean means[2];
      const auto ids = columns_.assignment.ids_of(row);
      for (size_t slot = 0; slot < k; ++slot) {
        if (ids[slot] >= 0)
          means[positive(ids[slot]) ? 1 : 0].add(similarity[static_cast<size_t>(row) * k + slot]);
      }
      scores.push_back(static_cast<float>(means[1].value() - means[0].value()));
    }
    return scores;
  }

  void add_similarity(const Rows& rows, RetrievalFigures& figures) const {
    Mean means[2];
    each_slot(rows, false, [&](int64_t, int32_t id, float similarity) {
      means[positive(id) ? 1 : 0].add(similarity);
    });
    figures.positive = means[1].value();
    figures.negative = means[0].value();
    const auto slots = static_cast<double>(figures.rows * columns_.assignment.k);
    if (slots > 0) figures.filled = (means[0].weight + means[1].weight) / slots;
  }

  void add_auc(const Rows& rows, RetrievalFigures& figures) const {
    std::vector<float> scores, history, target, labels;
    std::vector<int32_t> users;
    for (const int64_t row : rows) {
      const auto at = static_cast<size_t>(row);
      if (std::isnan(scores_[at])) continue;
      scores.push_back(scores_[at]);
      history.push_back(history_scores_[at]);
      target.push_back(target_scores_[at]);
      labels.push_back(columns_.labels[at]);
      users.push_back(columns_.users[at]);
    }
    figures.auc_rows = static_cast<int64_t>(scores.size());
    const auto seed = static_cast<uint64_t>(options_.seed);
    const auto value = train::auc(scores, labels);
    if (!value) return;
    figures.auc = *value;
    figures.history_auc = train::auc(history, labels).value_or(kNoFigure);
    figures.target_auc = train::auc(target, labels).value_or(kNoFigure);
    const auto interval = train::bootstrap_auc(
        scores, labels, users, {.resamples = options_.resamples, .level = 0.95, .seed = seed});
    if (interval) figures.auc_interval = {.low = interval->low, .high = interval->high};
    if (const auto chance = permute_auc(scores, labels, options_.permutations, seed)) {
      figures.shuffled_auc = chance->mean;
      figures.shuffled_interval = chance->range;
      figures.p_value = chance->p_value;
    }
  }

  void add_labels(const Rows& rows, RetrievalFigures& figures) const {
    Mean same, weighted, shuffled;
    const auto agrees = [&](int64_t row, int32_t id) {
      return (columns_.labels[static_cast<size_t>(row)] > 0.5F) == positive(id) ? 1.0 : 0.0;
    };
    each_slot(rows, false, [&](int64_t row, int32_t id, float similarity) {
      same.add(agrees(row, id));
      weighted.add(agrees(row, id), std::max(similarity, 0.0F));
    });
    each_slot(rows, true, [&](int64_t row, int32_t id, float similarity) {
      shuffled.add(agrees(row, id), std::max(similarity, 0.0F));
    });
    figures.same_label = same.value();
    figures.weighted_same_label = weighted.value();
    figures.shuffled_same_label = shuffled.value();
  }

  static void add_uses(std::vector<int64_t> uses, RetrievalFigures& figures) {
    if (uses.empty()) return;
    figures.gini = gini(uses);
    std::sort(uses.begin(), uses.end(), std::greater<>());
    const auto top = uses.begin() + static_cast<std::ptrdiff_t>((uses.size() + 99) / 100);
    const auto all = static_cast<double>(std::accumulate(uses.begin(), uses.end(), int64_t{0}));
    if (all > 0)
      figures.top_percent =
          static_cast<double>(std::accumulate(uses.begin(), top, int64_t{0})) / all;
    const auto unused = static_cast<double>(std::count(uses.begin(), uses.end(), 0));
    figures.coverage = 1 - unused / static_cast<double>(uses.size());
  }

  double share_of(const Attribute& attribute, const Rows& rows, bool shuffled) const {
    Mean mean;
    each_slot(rows, shuffled, [&](int64_t row, int32_t id, float) {
      const double agreement = attribute.agreement(row, id);
      if (!std::isnan(agreement)) mean.add(agreement);
    });
    return mean.value();
  }

  const AnalysisColumns& columns_;
  const AnalysisOptions& options_;
  std::vector<float> scores_;  // [Q], see scores_by()
  std::vector<float> history_scores_, target_scores_;
  Rows filled_;  // rows that have examples
  Rows other_;   // [Q] whose examples the row looks at in the control
};

Rows all_rows(int64_t count) {
  Rows rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return rows;
}

}  // namespace

void add_figures(const AnalysisColumns& columns, const std::vector<RowProperty>& properties,
                 const AnalysisOptions& options, RetrievalAnalysis& analysis) {
  const Figures figures(columns, options);
  analysis.permutations = options.permutations;
  analysis.seed = options.seed;
  analysis.k = columns.assignment.k;
  analysis.pool = static_cast<int64_t>(columns.pool_labels.size());
  analysis.all = figures.of("all", all_rows(columns.assignment.rows));
  for (const RowProperty& property : properties) {
    const std::vector<std::string> names = property.buckets.names();
    std::vector<Rows> rows(names.size());
    for (size_t row = 0; row < property.values.size(); ++row)
      rows[property.buckets.of(property.values[row])].push_back(static_cast<int64_t>(row));
    RetrievalCut cut{.title = property.title, .meaning = property.meaning, .buckets = {}};
    for (size_t bucket = 0; bucket < names.size(); ++bucket) {
      if (!rows[bucket].empty()) cut.buckets.push_back(figures.of(names[bucket], rows[bucket]));
    }
    analysis.cuts.push_back(std::move(cut));
  }
}

}  // namespace llmcf::pipeline
