#include "pipeline/results.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <set>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "core/strings.h"
#include "core/threads.h"
#include "nn/runtime.h"
#include "pipeline/report/report_json.h"
#include "pipeline/slices.h"
#include "pipeline/version.h"
#include "retrieval/statistics.h"
#include "train/metrics.h"
#include "train/run_log.h"

namespace llmcf::pipeline {

namespace {

constexpr int64_t kShownRows = 10;
constexpr size_t kShownHistory = 8;
// What one finished training run left behind.
struct RunRecord {
  Curve curve;
  double auc = 0, log_loss = 0, group_auc = 0;
  Interval interval;
  std::vector<float> logits;  // of the test rows
};

RunRecord read_run(const Workspace& workspace, const std::string& variant, int64_t seed) {
  const auto directory = workspace.run(variant, seed);
  RunRecord record;
  record.curve.variant = variant;
  record.curve.seed = seed;
  const train::TrainResult run = train::read_run(directory).result;
  record.curve.best_epoch = run.best_epoch;
  record.auc = run.test.auc;
  record.log_loss = run.test.log_loss;
  record.group_auc = run.test.group_auc.value_or(std::nan(""));
  record.interval = {run.test.auc_interval.low, run.test.auc_interval.high};
  for (const train::EpochResult& epoch : run.epochs)
    record.curve.points.push_back({epoch.epoch, epoch.train.total, epoch.valid_auc});
  const SafetensorsReader scores(directory / "test_scores.safetensors");
  const auto logits = scores.get<float>("logit");
  record.logits.assign(logits.begin(), logits.end());
  return record;
}

using Records = std::vector<std::vector<RunRecord>>;  // [variant][seed]

std::vector<double> values_of(const std::vector<RunRecord>& runs, double RunRecord::*field) {
  std::vector<double> values;
  for (const RunRecord& run : runs)
    values.push_back(run.*field);
  return values;
}

MetricResult metric_of(const std::vector<RunRecord>& runs, const std::vector<RunRecord>& baseline,
                       double RunRecord::*field) {
  MetricResult result{.per_seed = values_of(runs, field), .interval = {}, .p_value = {}};
  if (&runs != &baseline) {
    const auto test = train::paired_t_test(result.per_seed, values_of(baseline, field));
    if (test) result.p_value = test->p_value;
  }
  return result;
}

VariantResult variant_result(const std::string& name, const std::string& description,
                             const std::vector<RunRecord>& runs,
                             const std::vector<RunRecord>& baseline) {
  MetricResult auc = metric_of(runs, baseline, &RunRecord::auc);
  auc.interval = runs.front().interval;
  MetricResult improvement;
  if (&runs != &baseline) {
    for (size_t seed = 0; seed < runs.size(); ++seed) {
      improvement.per_seed.push_back(
          train::relative_improvement(runs[seed].auc, baseline[seed].auc).value_or(std::nan("")));
    }
  }
  return {.name = name,
          .description = description,
          .metrics = {std::move(auc), metric_of(runs, baseline, &RunRecord::log_loss),
                      metric_of(runs, baseline, &RunRecord::group_auc), std::move(improvement)}};
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

// Probability of a click, mean over seeds.
double mean_probability(const std::vector<RunRecord>& runs, size_t row) {
  double sum = 0;
  for (const RunRecord& run : runs)
    sum += 1 / (1 + std::exp(-static_cast<double>(run.logits[row])));
  return sum / static_cast<double>(runs.size());
}

std::vector<TestRow> shown_rows(const ResultInputs& inputs, const Records& records,
                                const retrieval::Assignment* assignment) {
  const data::Rows& rows = inputs.rows.rows(data::Split::kTest);
  Random random(2023, "rows of the report");
  std::vector<TestRow> shown;
  std::set<size_t> drawn;
  const auto wanted = static_cast<size_t>(std::min(kShownRows, rows.size()));
  while (drawn.size() < wanted)
    drawn.insert(random.below(static_cast<uint64_t>(rows.size())));
  for (const size_t row : drawn) {
    TestRow test{.user = std::string(inputs.dataset.user_name(rows.user[row])),
                 .history = history_titles(inputs, rows.user[row], rows.position[row]),
                 .target = std::string(inputs.dataset.item_title(rows.item[row])),
                 .label = rows.label[row] > 0.5F ? 1 : 0,
                 .scores = {},
                 .examples = {}};
    for (const auto& runs : records)
      test.scores.push_back(mean_probability(runs, row));
    if (assignment != nullptr) {
      const auto ids = assignment->ids_of(static_cast<int64_t>(row));
      const auto similarities = assignment->similarity_of(static_cast<int64_t>(row));
      for (size_t slot = ids.size(); slot-- > 0;) {  // the most similar first
        if (ids[slot] >= 0)
          test.examples.push_back(shown_example(inputs, ids[slot], similarities[slot]));
      }
    }
    shown.push_back(std::move(test));
  }
  return shown;
}

std::vector<Slice> test_slices(const ResultInputs& inputs, const Records& records) {
  const data::Rows& rows = inputs.rows.rows(data::Split::kTest);
  std::vector<VariantScores> scores;
  for (const auto& runs : records) {
    VariantScores variant{.name = runs.front().curve.variant, .logits = {}};
    for (const RunRecord& run : runs)
      variant.logits.push_back(run.logits);
    scores.push_back(std::move(variant));
  }
  std::vector<RowProperty> properties = row_properties(inputs.rows, rows);
  if (inputs.examples != nullptr)
    properties.push_back(
        similarity_property(retrieval::Assignment::load(inputs.workspace.retrieval("test"))));
  std::vector<Slice> slices;
  for (const RowProperty& property : properties)
    slices.push_back(slice_by(property, rows.label, scores));
  return slices;
}

void add_retrieval(const ResultInputs& inputs, const Records& records, ReportData& data) {
  if (inputs.examples == nullptr) {
    data.rows = shown_rows(inputs, records, nullptr);
    return;
  }
  for (const data::Split part : data::kAllSplits) {
    const auto name = std::string(data::split_name(part));
    const auto assignment = retrieval::Assignment::load(inputs.workspace.retrieval(name));
    data.similarity.push_back(similarity_of(
        name,
        retrieval::statistics(assignment, inputs.rows.rows(part).label, inputs.examples->label())));
    if (part == data::Split::kTest) data.rows = shown_rows(inputs, records, &assignment);
  }
}

}  // namespace

ReportData collect_results(const ResultInputs& inputs) {
  Records records;
  for (const Variant& variant : inputs.config.variants) {
    auto& runs = records.emplace_back();
    for (const int64_t seed : inputs.config.seeds)
      runs.push_back(read_run(inputs.workspace, variant.name, seed));
  }
  ReportData data;
  data.title = inputs.config.name;
  data.created = fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time(nullptr)));
  data.protocol = inputs.config.protocol;
  data.reasoner = inputs.reasoner;
  data.interval_name = "95 % bootstrap interval over test users, first seed";
  data.test_name = "paired t-test over seeds";
  data.seeds = inputs.config.seeds;
  data.dataset = describe_dataset(inputs);
  data.configuration = inputs.config.text;
  data.metrics = standard_metrics();
  for (size_t variant = 0; variant < records.size(); ++variant) {
    data.variants.push_back(
        variant_result(inputs.config.variants[variant].name,
                       describe_variant(inputs.config.variants[variant], inputs.teacher),
                       records[variant], records.front()));
    for (const RunRecord& run : records[variant])
      data.curves.push_back(run.curve);
  }
  data.slices = test_slices(inputs, records);
  add_retrieval(inputs, records, data);
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
