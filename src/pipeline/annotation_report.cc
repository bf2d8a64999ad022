// Do people find similar what the similarity finds similar, and do they agree with each other?
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "pipeline/annotate.h"
#include "pipeline/rank_statistics.h"
#include "pipeline/report/format.h"
#include "pipeline/report/grid.h"
#include "train/metrics.h"

namespace llmcf::pipeline {

namespace {

constexpr int64_t kResamples = 1000;

using PairName = std::pair<RowName, RowName>;
using Judged = std::vector<Annotation>;  // with a grade, the last one of each annotator and pair
using Statistic = std::optional<double> (*)(const std::vector<const Annotation*>&);

std::optional<double> correlation(const std::vector<const Annotation*>& judged) {
  std::vector<double> similarity, grades;
  for (const Annotation* annotation : judged) {
    similarity.push_back(annotation->similarity);
    grades.push_back(static_cast<double>(*annotation->grade));
  }
  return spearman(similarity, grades);
}

// Of similarity, for grades of at least kLeast against the others.
template <int64_t kLeast>
std::optional<double> auc_of(const std::vector<const Annotation*>& judged) {
  std::vector<float> similarity, labels;
  for (const Annotation* annotation : judged) {
    similarity.push_back(static_cast<float>(annotation->similarity));
    labels.push_back(*annotation->grade >= kLeast ? 1.0F : 0.0F);
  }
  return train::auc(similarity, labels);
}

template <int64_t kGrade>
std::optional<double> mean_similarity(const std::vector<const Annotation*>& judged) {
  double sum = 0, count = 0;
  for (const Annotation* annotation : judged) {
    if (*annotation->grade != kGrade) continue;
    sum += annotation->similarity;
    ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

Judged last_of_each(const std::vector<Annotation>& annotations, const std::string& split) {
  std::map<std::pair<std::string, PairName>, Annotation> last;
  for (const Annotation& annotation : annotations) {
    if (annotation.split == split && annotation.grade)
      last[{annotation.annotator, {annotation.query, annotation.example}}] = annotation;
  }
  Judged judged;
  for (const auto& [key, annotation] : last)
    judged.push_back(annotation);
  return judged;
}

std::string with_interval(std::optional<double> value, std::optional<Interval> interval) {
  if (!value) return kDash;
  if (!interval) return number_text(*value, 3);
  return fmt::format("{} [{}, {}]", number_text(*value, 3), number_text(interval->low, 3),
                     number_text(interval->high, 3));
}

// Judgements of one row depend on each other: whole rows are drawn.
class Resampled {
 public:
  Resampled(const Judged& judged, int64_t seed) : seed_(static_cast<uint64_t>(seed)) {
    std::map<RowName, std::vector<const Annotation*>> rows;
    for (const Annotation& annotation : judged) {
      all_.push_back(&annotation);
      rows[annotation.query].push_back(&annotation);
    }
    for (auto& [query, members] : rows)
      rows_.push_back(std::move(members));
  }

  std::string text(Statistic statistic) const {
    const auto of_drawn = [&](std::span<const size_t> drawn) {
      std::vector<const Annotation*> sample;
      for (const size_t row : drawn)
        sample.insert(sample.end(), rows_[row].begin(), rows_[row].end());
      return statistic(sample);
    };
    return with_interval(statistic(all_), bootstrap_interval(rows_.size(), of_drawn, kResamples,
                                                             seed_, "pipeline.annotations"));
  }

 private:
  uint64_t seed_;
  std::vector<const Annotation*> all_;
  std::vector<std::vector<const Annotation*>> rows_;
};

Grid agreement_table(const Judged& judged, int64_t seed) {
  const Resampled resampled(judged, seed);
  const auto graded = [&](int64_t grade) {
    return fmt::format(
        "{}", std::count_if(judged.begin(), judged.end(),
                            [&](const auto& annotation) { return *annotation.grade == grade; }));
  };
  const std::string all = fmt::format("{}", judged.size());
  return Grid::of({{"similarity against judgements", "judgements", "figure [95 %]"},
                   {"Spearman correlation with the grade", all, resampled.text(correlation)},
                   {"AUC, relevant (2) against the rest", all, resampled.text(auc_of<2>)},
                   {"AUC, relevant or partly (2, 1) against not", all, resampled.text(auc_of<1>)},
                   {"mean similarity, grade 2", graded(2), resampled.text(mean_similarity<2>)},
                   {"mean similarity, grade 1", graded(1), resampled.text(mean_similarity<1>)},
                   {"mean similarity, grade 0", graded(0), resampled.text(mean_similarity<0>)}});
}

using GradesByPair = std::map<PairName, int64_t>;

std::string kappa_text(const GradesByPair& first, const GradesByPair& second, int64_t seed,
                       size_t& common) {
  std::vector<int64_t> a, b;
  for (const auto& [pair, grade] : first) {
    const auto other = second.find(pair);
    if (other == second.end()) continue;
    a.push_back(grade);
    b.push_back(other->second);
  }
  common = a.size();
  const auto of_drawn = [&](std::span<const size_t> drawn) {
    std::vector<int64_t> x, y;
    for (const size_t pair : drawn) {
      x.push_back(a[pair]);
      y.push_back(b[pair]);
    }
    return cohens_kappa(x, y);
  };
  return with_interval(cohens_kappa(a, b),
                       bootstrap_interval(common, of_drawn, kResamples, static_cast<uint64_t>(seed),
                                          "pipeline.kappa"));
}

// One row per two annotators who judged a common pair.
Grid kappa_table(const Judged& judged, int64_t seed) {
  std::map<std::string, GradesByPair> grades;
  for (const Annotation& annotation : judged)
    grades[annotation.annotator][{annotation.query, annotation.example}] = *annotation.grade;
  Grid table = Grid::with_header({"annotators", "common pairs", "Cohen's kappa [95 %]"});
  for (auto first = grades.begin(); first != grades.end(); ++first) {
    for (auto second = std::next(first); second != grades.end(); ++second) {
      size_t common = 0;
      const std::string kappa = kappa_text(first->second, second->second, seed, common);
      if (common > 0)
        table.rows.push_back({fmt::format("{} and {}", first->first, second->first),
                              fmt::format("{}", common), kappa});
    }
  }
  return table;
}

}  // namespace

std::string annotation_report(const std::vector<Annotation>& annotations, const std::string& split,
                              int64_t seed) {
  const Judged judged = last_of_each(annotations, split);
  if (judged.empty()) return fmt::format("No judgements of the {} split yet.\n", split);
  std::set<std::string> annotators;
  for (const Annotation& annotation : judged)
    annotators.insert(annotation.annotator);
  std::string text = fmt::format("{} judgements of the {} split by {}\n\n", judged.size(), split,
                                 without_control(fmt::format("{}", fmt::join(annotators, ", "))));
  text += grid_text(agreement_table(judged, seed));
  const Grid kappa = kappa_table(judged, seed);
  if (kappa.rows.size() > 1) text += "\n" + grid_text(kappa);
  return text;
}

}  // namespace llmcf::pipeline
