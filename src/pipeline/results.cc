#include "pipeline/results.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "core/strings.h"
#include "core/threads.h"
#include "nn/runtime.h"
#include "pipeline/measures.h"
#include "pipeline/report/report_json.h"
#include "pipeline/slices.h"
#include "pipeline/version.h"
#include "retrieval/statistics.h"
#include "train/metrics.h"
#include "train/run_log.h"
#include "train/sequence_store.h"

namespace llmcf::pipeline {

namespace {

constexpr int64_t kShownRows = 10;
constexpr size_t kShownHistory = 8;
// What one finished training run left behind.
struct RunRecord {
  Curve curve;
  std::vector<double> figures;  // by Measures::names
  std::optional<Interval> interval;
  std::vector<float> scores;  // of the test rows: logits, or items before the target
};

RunRecord read_run(const Workspace& workspace, Task task, const std::string& variant,
                   int64_t seed) {
  const auto directory = workspace.run(variant, seed);
  RunRecord record;
  record.curve.variant = variant;
  record.curve.seed = seed;
  const train::TrainResult run = train::read_run(directory).result;
  record.curve.best_epoch = run.best_epoch;
  record.figures = figures_of(measures_of(task), run.test);
  for (const train::EpochResult& epoch : run.epochs)
    record.curve.points.push_back(
        {epoch.epoch, epoch.train.total, epoch.valid.all().front().second});
  const SafetensorsReader scores(directory / "test_scores.safetensors");
  if (task == Task::kNextItem) {
    const auto ranks = scores.get<int32_t>("rank");
    record.scores.assign(ranks.begin(), ranks.end());
  } else {
    const auto logits = scores.get<float>("logit");
    record.scores.assign(logits.begin(), logits.end());
    record.interval = {run.test.auc_interval.low, run.test.auc_interval.high};
  }
  return record;
}

using Records = std::vector<std::vector<RunRecord>>;  // [variant][seed]

std::vector<double> values_of(const std::vector<RunRecord>& runs, size_t figure) {
  std::vector<double> values;
  for (const RunRecord& run : runs)
    values.push_back(run.figures[figure]);
  return values;
}

MetricResult metric_of(const std::vector<RunRecord>& runs, const std::vector<RunRecord>& baseline,
                       size_t figure) {
  MetricResult result{.per_seed = values_of(runs, figure), .interval = {}, .p_value = {}};
  if (&runs != &baseline) {
    const auto test = train::paired_t_test(result.per_seed, values_of(baseline, figure));
    if (test) result.p_value = test->p_value;
  }
  return result;
}

VariantResult variant_result(Task task, const std::string& name, const std::string& description,
                             const std::vector<RunRecord>& runs,
                             const std::vector<RunRecord>& baseline) {
  VariantResult result{.name = name, .description = description, .metrics = {}};
  for (size_t figure = 0; figure < measures_of(task).names.size(); ++figure)
    result.metrics.push_back(metric_of(runs, baseline, figure));
  result.metrics.front().interval = runs.front().interval;
  MetricResult gain;
  for (size_t seed = 0; &runs != &baseline && seed < runs.size(); ++seed)
    gain.per_seed.push_back(
        improvement(task, runs[seed].figures.front(), baseline[seed].figures.front()));
  result.metrics.push_back(std::move(gain));
  return result;
}

std::string describe_variant(const Variant& variant, const cot::TeacherSet* teacher) {
  auto text = variant.model.get<std::string>("backbone", "deepfm");
  const auto context = variant.model.get<std::string>("context", "none");
  if (context != "none") text += fmt::format(" + {}", context);
  if (teacher != nullptr && variant.model.section("distillation").get<double>("weight", 0) > 0)
    text += fmt::format(" + distillation ({})", teacher->source());
  return text;
}

std::vector<KeyValue> describe_dataset(const ResultInputs& inputs) {
  const auto& dataset = inputs.dataset;
  std::vector<KeyValue> facts = {{"name", dataset.name()},
                                 {"users", with_commas(dataset.num_users())},
                                 {"items", with_commas(dataset.num_items())},
                                 {"interactions", with_commas(dataset.num_events())}};
  for (const data::Split part : data::kAllSplits) {
    facts.push_back({fmt::format("{} rows", data::split_name(part)),
                     with_commas(inputs.rows.rows(part).size())});
  }
  if (inputs.examples != nullptr)
    facts.push_back({"examples", with_commas(inputs.examples->size())});
  if (inputs.teacher != nullptr)
    facts.push_back({"teacher", fmt::format("{}; its own: {}", inputs.teacher->source(),
                                            inputs.teacher->note("measured"))});
  return facts;
}

std::vector<KeyValue> describe_environment() {
  const nn::RuntimeInfo torch = nn::runtime_info();
  return {{"llmcf", std::string(kVersion)},
          {"libtorch", torch.torch_version},
          {"CPU capability", torch.cpu_capability},
          {"threads", std::to_string(thread_count())}};
}

SplitSimilarity similarity_of(const std::string& name, const retrieval::Statistics& statistics) {
  SplitSimilarity split{.split = name,
                        .rows = statistics.rows,
                        .slots = statistics.k,
                        .masked_share = statistics.masked_share,
                        .coverage = 1 - statistics.empty_share,
                        .pool_used = statistics.coverage,
                        .mean_positive = statistics.mean_positive_similarity,
                        .mean_negative = statistics.mean_negative_similarity,
                        .edges = {},
                        .series = {}};
  const auto& positive = statistics.positive_similarity;
  const auto& negative = statistics.negative_similarity;
  const auto bins = static_cast<int64_t>(positive.counts.size());
  int64_t first = bins, last = -1;  // the bins that hold anything
  for (int64_t bin = 0; bin < bins; ++bin) {
    if (positive.counts[static_cast<size_t>(bin)] + negative.counts[static_cast<size_t>(bin)] == 0)
      continue;
    first = std::min(first, bin);
    last = bin;
  }
  SimilaritySeries positives{.label = "positive examples", .counts = {}};
  SimilaritySeries negatives{.label = "negative examples", .counts = {}};
  for (int64_t bin = first; bin <= last; ++bin) {
    split.edges.push_back(positive.bin_low(bin));
    positives.counts.push_back(positive.counts[static_cast<size_t>(bin)]);
    negatives.counts.push_back(negative.counts[static_cast<size_t>(bin)]);
  }
  if (last >= 0) split.edges.push_back(positive.bin_low(last + 1));
  split.series = {std::move(positives), std::move(negatives)};
  return split;
}

std::vector<std::string> history_titles(const ResultInputs& inputs, int32_t user,
                                        int32_t position) {
  auto items = inputs.rows.history(user, position);
  if (items.size() > kShownHistory) items = items.last(kShownHistory);
  std::vector<std::string> titles;
  for (const int32_t item : items)
    titles.emplace_back(inputs.dataset.item_title(item));
  return titles;
}

RetrievedExample shown_example(const ResultInputs& inputs, int32_t example, float similarity) {
  const auto index = static_cast<size_t>(example);
  const cot::ExampleSet& examples = *inputs.examples;
  return {.similarity = similarity,
          .label = examples.label()[index] > 0.5F ? 1 : 0,
          .target = std::string(inputs.dataset.item_title(examples.item()[index])),
          .history = history_titles(inputs, examples.user()[index], examples.position()[index]),
          .cot = std::string(examples.text(example))};
}

// Measures::score, mean over seeds.
double mean_score(Task task, const std::vector<RunRecord>& runs, size_t row) {
  double sum = 0;
  for (const RunRecord& run : runs) {
    const auto score = static_cast<double>(run.scores[row]);
    sum += task == Task::kClicks ? 1 / (1 + std::exp(-score)) : score;
  }
  return sum / static_cast<double>(runs.size());
}

// The split's rows that runs of the task are judged on, ascending.
std::vector<int64_t> judged_rows(Task task, const data::Rows& rows) {
  if (task == Task::kNextItem) return train::positive_rows(rows);
  std::vector<int64_t> all(static_cast<size_t>(rows.size()));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

std::vector<TestRow> shown_rows(const ResultInputs& inputs, Task task, const Records& records,
                                const retrieval::Assignment* assignment) {
  const data::Rows& rows = inputs.rows.rows(data::Split::kTest);
  Random random(2023, "rows of the report");
  std::vector<TestRow> shown;
  std::set<size_t> drawn;
  const std::vector<int64_t> judged = judged_rows(task, rows);
  const auto wanted = std::min(static_cast<size_t>(kShownRows), judged.size());
  while (drawn.size() < wanted)
    drawn.insert(random.below(judged.size()));
  for (const size_t place : drawn) {
    const auto row = static_cast<size_t>(judged[place]);
    TestRow test{.user = std::string(inputs.dataset.user_name(rows.user[row])),
                 .history = history_titles(inputs, rows.user[row], rows.position[row]),
                 .target = std::string(inputs.dataset.item_title(rows.item[row])),
                 .label = rows.label[row] > 0.5F ? 1 : 0,
                 .scores = {},
                 .examples = {}};
    for (const auto& runs : records)
      test.scores.push_back(mean_score(task, runs, place));
    if (assignment != nullptr) {
      const auto ids = assignment->ids_of(static_cast<int64_t>(place));
      const auto similarities = assignment->similarity_of(static_cast<int64_t>(place));
      for (size_t slot = ids.size(); slot-- > 0;) {  // the most similar first
        if (ids[slot] >= 0)
          test.examples.push_back(shown_example(inputs, ids[slot], similarities[slot]));
      }
    }
    shown.push_back(std::move(test));
  }
  return shown;
}

std::vector<Slice> test_slices(const ResultInputs& inputs, Task task, const Records& records) {
  const data::Rows& rows = inputs.rows.rows(data::Split::kTest);
  std::vector<VariantScores> scores;
  for (const auto& runs : records) {
    VariantScores variant{.name = runs.front().curve.variant, .scores = {}};
    for (const RunRecord& run : runs)
      variant.scores.push_back(run.scores);
    scores.push_back(std::move(variant));
  }
  const std::vector<int64_t> judged = judged_rows(task, rows);
  std::vector<RowProperty> properties = row_properties(inputs.rows, rows, judged);
  if (inputs.examples != nullptr)
    properties.push_back(
        similarity_property(retrieval::Assignment::load(inputs.workspace.retrieval("test"))));
  std::vector<float> labels;
  for (const int64_t row : judged)
    labels.push_back(rows.label[static_cast<size_t>(row)]);
  const SliceMeasure measure = task == Task::kClicks ? mean_auc : mean_hit;
  std::vector<Slice> slices;
  for (const RowProperty& property : properties)
    slices.push_back(slice_by(property, labels, scores, measure));
  return slices;
}

void add_retrieval(const ResultInputs& inputs, Task task, const Records& records,
                   ReportData& data) {
  if (inputs.examples == nullptr) {
    data.rows = shown_rows(inputs, task, records, nullptr);
    return;
  }
  for (const data::Split part : data::kAllSplits) {
    const auto name = std::string(data::split_name(part));
    const auto assignment = retrieval::Assignment::load(inputs.workspace.retrieval(name));
    const data::Rows& rows = inputs.rows.rows(part);
    std::vector<float> labels;
    for (const int64_t row : judged_rows(task, rows))
      labels.push_back(rows.label[static_cast<size_t>(row)]);
    data.similarity.push_back(
        similarity_of(name, retrieval::statistics(assignment, labels, inputs.examples->label())));
    if (part == data::Split::kTest) data.rows = shown_rows(inputs, task, records, &assignment);
  }
}

}  // namespace

ReportData collect_results(const ResultInputs& inputs) {
  const Task task = task_of(inputs.config.variants);
  const Measures& measures = measures_of(task);
  Records records;
  for (const Variant& variant : inputs.config.variants) {
    auto& runs = records.emplace_back();
    for (const int64_t seed : inputs.config.seeds)
      runs.push_back(read_run(inputs.workspace, task, variant.name, seed));
  }
  ReportData data;
  data.title = inputs.config.name;
  data.created = fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time(nullptr)));
  data.protocol = inputs.config.protocol;
  data.reasoner = inputs.reasoner;
  if (task == Task::kClicks)
    data.interval_name = "95 % bootstrap interval over test users, first seed";
  data.test_name = "paired t-test over seeds";
  data.seeds = inputs.config.seeds;
  data.dataset = describe_dataset(inputs);
  data.configuration = inputs.config.text;
  data.metrics = measures.metrics;
  data.sliced = measures.sliced;
  data.score = measures.score;
  for (size_t variant = 0; variant < records.size(); ++variant) {
    data.variants.push_back(
        variant_result(task, inputs.config.variants[variant].name,
                       describe_variant(inputs.config.variants[variant], inputs.teacher),
                       records[variant], records.front()));
    for (const RunRecord& run : records[variant])
      data.curves.push_back(run.curve);
  }
  data.slices = test_slices(inputs, task, records);
  add_retrieval(inputs, task, records, data);
  for (const StageReport& stage : inputs.stages) {
    data.stages.push_back({stage.name, stage.seconds, stage.peak_memory_mib, stage.skipped});
  }
  data.environment = describe_environment();
  return data;
}

void write_results(const ReportData& data, const Workspace& workspace) {
  write_file(workspace.results("json"), report_json(data));
  write_file(workspace.results("md"), result_table_markdown(data));
  write_file(workspace.results("csv"), result_table_csv(data));
  write_report(data, workspace.report());
}

}  // namespace llmcf::pipeline
