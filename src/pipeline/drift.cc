#include "pipeline/drift.h"

#include <algorithm>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/strings.h"
#include "pipeline/drift_measures.h"
#include "pipeline/drift_windows.h"
#include "pipeline/journey.h"
#include "pipeline/run.h"
#include "pipeline/stage_key.h"

namespace llmcf::pipeline {

namespace {

// Versions of the artefacts' formats and meaning.
constexpr int kExampleRowsFormat = 1;
constexpr int kRetrieveFormat = 2;
constexpr int kScoreFormat = 1;

constexpr const char* kFrozen = "frozen";
constexpr const char* kRefreshed = "refreshed";

class DriftStudy : private Journey {
 public:
  DriftStudy(const RunConfig& config, const std::set<std::string>& force)
      : Journey(config, force), options_(DriftOptions::from(config.drift)) {
    if (task_ == Task::kNextItem)
      throw Error("drift measures click models; this run's backbone predicts the next item");
    if (split_options_.method != "time") {
      config.split.fail("method", "llmcf drift cuts rows by time; write 'method: time'");
    }
    if (example_options_.top_share < 1) {
      config.pool.fail("top_share",
                       "llmcf drift needs pools whose past does not depend on later answers; use "
                       "pool.min_score");
    }
    if (uses_examples_ && !retrieval_options_.time_safe) {
      config.retrieve.fail("time_safe", "llmcf drift needs time-safe retrieval (protocol: strict)");
    }
  }

  DriftOutcome finish(bool dry_run) {
    import();
    cut();
    encode();
    if (dry_run) return {.data = {}, .report = {}, .estimate = estimate_reasoning()};
    reason();
    pool();
    knowledge();
    teach();
    retrieve_arms();
    train();
    if (has_refreshed()) score_refreshed();
    return report_drift();
  }

 private:
  bool has_refreshed() const { return uses_examples_ && options_.refreshed; }
  std::filesystem::path example_rows_file() const {
    return workspace().root() / "data" / "example_rows.safetensors";
  }
  std::filesystem::path refreshed_slots() const { return workspace().retrieval("test_refreshed"); }
  std::filesystem::path refreshed_scores(const std::string& variant, int64_t seed) const {
    return workspace().run(variant, seed) / "refreshed_scores.safetensors";
  }
  const data::Rows& test() { return rows().rows(data::Split::kTest); }

  // Finds the windows; writes the models' rows and those that examples come from.
  void cut() {
    windows_ = find_windows(data::row_times(dataset(), split_options_), options_,
                            split_options_.valid_share);
    split_options_.cuts = windows_.model_cuts();
    split();
    data::SplitOptions options = split_options_;
    options.cuts = windows_.example_cuts(has_refreshed());
    const std::string key =
        stage_key("split.examples", kExampleRowsFormat,
                  {digests_.dataset, config_.split.canonical(), data::describe(options.cuts)});
    const auto work = [&] { data::write_rows(dataset(), options, example_rows_file()); };
    digests_.example_rows = runner_.run({.name = "split.examples",
                                         .key = key,
                                         .outputs = {example_rows_file()},
                                         .work = work,
                                         .complete = {},
                                         .digest = {}});
    example_rows_ = std::make_unique<data::RowSet>(example_rows_file());
  }

  // The time before which an arm's pool was filled, for every row of the windows.
  std::vector<int64_t> cuts_of(bool refreshed) {
    std::vector<int64_t> cuts(test().time.size(), windows_.begin());
    for (size_t row = 0; refreshed && row < cuts.size(); ++row)
      cuts[row] = windows_.bounds[windows_.of(test().time[row])];
    return cuts;
  }

  void retrieve_arms() {
    if (!uses_examples_) return;
    const std::string key =
        stage_key("retrieve", kRetrieveFormat,
                  {"drift", digests_.rows, digests_.text, digests_.examples, config_.protocol,
                   config_.retrieve.canonical(), windows_.canonical(),
                   has_refreshed() ? kRefreshed : kFrozen});
    std::vector<std::filesystem::path> outputs = {workspace().retrieval("train"),
                                                  workspace().retrieval("valid"),
                                                  workspace().retrieval("test")};
    if (has_refreshed()) outputs.push_back(refreshed_slots());
    const std::vector<int64_t> frozen = cuts_of(false), refreshed = cuts_of(true);
    retrieve_for(key, outputs, [&] {
      std::vector<retrieval::Queries> queries = {
          retrieval::Queries::of(rows().train()),
          retrieval::Queries::of(rows().rows(data::Split::kValid)), retrieval::Queries::of(test()),
          retrieval::Queries::of(test())};
      queries[2].time = frozen;
      queries[3].time = refreshed;
      queries.resize(outputs.size());
      return queries;
    });
  }

  // Training scored every row with the frozen pool; this does it with the refreshed one.
  void score_refreshed() {
    std::vector<retrieval::Assignment> slots;
    train::FeatureInputs inputs = feature_inputs(slots);
    const auto refreshed = retrieval::Assignment::load(refreshed_slots());
    inputs.slots[static_cast<size_t>(data::Split::kTest)] = train::SlotColumns::of(refreshed);
    for (const ReadVariant& variant : variants_) {
      if (!models::uses_examples(variant.model.context)) continue;
      const train::FeatureStore features(train::inputs_for(variant.model, inputs),
                                         variant.features);
      for (const int64_t seed : config_.seeds)
        score_one(variant, seed, features);
    }
  }

  void score_one(const ReadVariant& variant, int64_t seed, const train::FeatureStore& features) {
    const auto output = refreshed_scores(variant.name, seed);
    const auto work = [&] {
      const std::vector<float> logits = train::predict(
          task_of(variant, seed, features), variant.train,
          workspace().run(variant.name, seed) / "best.safetensors", data::Split::kTest);
      SafetensorsWriter writer;
      writer.add("logit", logits);
      writer.write(output);
    };
    runner_.run({.name = fmt::format("drift.{}.{}", variant.name, seed),
                 .key = stage_key("drift", kScoreFormat, {variant_key(variant, seed)}),
                 .outputs = {output},
                 .work = work,
                 .complete = {},
                 .digest = {}});
  }

  // Measures one variant under one arm from the score files of its seeds.
  DriftSeries measure_series(const ReadVariant& variant, const std::string& arm) {
    const auto windows = static_cast<size_t>(windows_.size());
    DriftSeries series{.variant = variant.name,
                       .arm = arm,
                       .auc = std::vector<MetricResult>(windows),
                       .log_loss = std::vector<MetricResult>(windows),
                       .group_auc = std::vector<MetricResult>(windows)};
    for (const int64_t seed : config_.seeds) {
      const SafetensorsReader scores(arm == kRefreshed ? refreshed_scores(variant.name, seed)
                                                       : workspace().run(variant.name, seed) /
                                                             "test_scores.safetensors");
      const auto logits = scores.get<float>("logit", {test().size()});
      for (size_t window = 0; window < windows; ++window) {
        const WindowScore score = score_window(test(), window_rows_[window], logits);
        series.auc[window].per_seed.push_back(score.auc);
        series.log_loss[window].per_seed.push_back(score.log_loss);
        series.group_auc[window].per_seed.push_back(score.group_auc);
      }
    }
    return series;
  }

  DriftArm measure_arm(const std::string& name, const std::string& meaning,
                       const std::filesystem::path& slots) {
    const auto assignment = retrieval::Assignment::load(slots);
    DriftArm arm{.name = name, .meaning = meaning, .windows = {}};
    for (size_t window = 0; window < window_rows_.size(); ++window) {
      const int64_t cut = name == kRefreshed ? windows_.bounds[window] : windows_.begin();
      arm.windows.push_back(
          measure_pool(pool_of(examples()), cut, assignment, test(), window_rows_[window]));
    }
    return arm;
  }

  void measure(DriftData& data) {
    window_rows_ = rows_by_window(test(), windows_);
    for (size_t window = 0; window < window_rows_.size(); ++window) {
      data.windows.push_back(describe_window(rows(), window_rows_[window], windows_.bounds[window],
                                             windows_.bounds[window + 1]));
    }
    if (uses_examples_) {
      data.arms.push_back(measure_arm(
          kFrozen, "the pool as it was before the first window, " + date_text(windows_.begin()),
          workspace().retrieval("test")));
    }
    if (has_refreshed()) {
      data.arms.push_back(measure_arm(
          kRefreshed, "the pool as it was when each window began; the models are the same",
          refreshed_slots()));
    }
    for (const ReadVariant& variant : variants_) {
      const bool reads = models::uses_examples(variant.model.context);
      data.series.push_back(measure_series(variant, reads ? kFrozen : ""));
      if (reads && has_refreshed()) data.series.push_back(measure_series(variant, kRefreshed));
    }
    data.checks = check_drift(data, options_);
  }

  DriftOutcome report_drift() {
    DriftOutcome outcome;
    DriftData& data = outcome.data;
    data.title = config_.name;
    data.created = fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time(nullptr)));
    data.protocol = config_.protocol;
    data.reasoner = uses_examples_ ? reasoner_text() : "";
    data.seeds = config_.seeds;
    data.configuration = config_.text;
    data.dataset = {{"name", dataset().name()},
                    {"users", with_commas(dataset().num_users())},
                    {"items", with_commas(dataset().num_items())},
                    {"interactions", with_commas(dataset().num_events())},
                    {"training rows", with_commas(rows().train().size())},
                    {"validation rows", with_commas(rows().rows(data::Split::kValid).size())},
                    {"rows in windows", with_commas(test().size())}};
    measure(data);
    const auto file = [this](const char* extension) {
      return workspace().root() / fmt::format("drift.{}", extension);
    };
    write_file(file("json"), drift_json(data));
    write_file(file("md"), drift_markdown(data));
    write_file(file("csv"), drift_csv(data));
    outcome.report = file("html");
    write_file(outcome.report, drift_html(data));
    log::info("report: {}", outcome.report.string());
    return outcome;
  }

  DriftOptions options_;
  TimeWindows windows_;
  std::vector<std::vector<int64_t>> window_rows_;  // of the test split, by window
};

}  // namespace

DriftOutcome drift(const RunConfig& config, const std::set<std::string>& force, bool dry_run) {
  std::vector<std::string> stages = stage_names();
  stages.emplace_back("drift");
  check_force(force, stages);
  return DriftStudy(config, force).finish(dry_run);
}

}  // namespace llmcf::pipeline
