#include "pipeline/measures.h"

#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"
#include "models/options.h"
#include "train/metrics.h"

namespace llmcf::pipeline {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

MetricInfo at_depth(const std::string& kind, int depth, const std::string& note) {
  const std::string meaning =
      kind == "HIT" ? "Share of rows whose target is among the {} best of all items"
      : kind == "NDCG"
          ? "1 / log2(place + 1) of the target among the {} best of all items, else 0; mean"
          : "1 / place of the target among the {} best of all items, else 0; mean";
  return {.name = fmt::format("{}@{}{}", kind, depth, note),
          .meaning = fmt::format(fmt::runtime(meaning), depth) +
                     (note.empty() ? ", items seen before included."
                                   : ", items that the user has seen left out.")};
}

Measures next_item_measures() {
  Measures measures{.names = {},
                    .metrics = {},
                    .sliced = "HIT@10",
                    .score = "Items before the target, mean over seeds"};
  const auto add = [&](const char* kind, const char* name, int depth, bool unseen) {
    measures.names.push_back(fmt::format("{}@{}{}", name, depth, unseen ? "_unseen" : ""));
    measures.metrics.push_back(at_depth(kind, depth, unseen ? " unseen" : ""));
  };
  add("NDCG", "ndcg", 10, false);
  add("HIT", "hit", 10, false);
  add("MRR", "mrr", 10, false);
  add("HIT", "hit", 1, false);
  add("HIT", "hit", 5, false);
  add("NDCG", "ndcg", 5, false);
  add("HIT", "hit", 20, false);
  add("NDCG", "ndcg", 20, false);
  add("NDCG", "ndcg", 10, true);
  add("HIT", "hit", 10, true);
  measures.metrics.push_back({.name = "Gain",
                              .meaning = "Relative improvement of NDCG@10 over the baseline's.",
                              .percent = true,
                              .decimals = 2});
  return measures;
}

}  // namespace

const Measures& measures_of(Task task) {
  static const Measures clicks = {.names = {"auc", "log_loss", "gauc"},
                                  .metrics = standard_metrics(),
                                  .sliced = "AUC",
                                  .score = "Probability of a click, mean over seeds"};
  static const Measures next_item = next_item_measures();
  return task == Task::kClicks ? clicks : next_item;
}

Task task_of(const std::vector<Variant>& variants) {
  const auto sequence = [](const Variant& variant) {
    return models::is_sequence_backbone(variant.model.get<std::string>("backbone", "deepfm"));
  };
  const bool first = sequence(variants.front());
  for (const Variant& variant : variants)
    if (sequence(variant) != first)
      variant.model.fail(
          "backbone",
          fmt::format("variant '{}' predicts {}, variant '{}' {}: they are judged differently; put "
                      "them into runs of their own",
                      variant.name, first ? "clicks" : "the next item", variants.front().name,
                      first ? "the next item" : "clicks"));
  return first ? Task::kNextItem : Task::kClicks;
}

std::vector<double> figures_of(const Measures& measures, const train::TestResult& test) {
  if (test.figures.all().empty()) return {test.auc, test.log_loss, test.group_auc.value_or(kNone)};
  std::vector<double> figures;
  for (const std::string& name : measures.names)
    figures.push_back(test.figures.at(name));
  return figures;
}

double improvement(Task task, double value, double baseline) {
  if (std::isnan(value) || std::isnan(baseline)) return kNone;
  if (task == Task::kClicks) return train::relative_improvement(value, baseline).value_or(kNone);
  return baseline > 0 ? value / baseline - 1 : kNone;
}

}  // namespace llmcf::pipeline
