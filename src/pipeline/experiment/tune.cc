#include "pipeline/experiment/tune.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"
#include "core/strings.h"
#include "models/options.h"

namespace llmcf::pipeline::experiment {

namespace {

constexpr const char* kSweep = "tune";

void check_variants(const Config& config, const std::string& key,
                    const std::vector<std::string>& names, const Experiment& experiment) {
  const auto known = experiment.variant_names();
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      config.fail(key, unknown_name("variant", name, known));
}

Axis read_axis(const Config& config, const Experiment& experiment) {
  Axis axis{.key = config.require<std::string>("key")};
  const int kinds = config.has("log") + config.has("uniform") + config.has("choice");
  if (kinds != 1) config.fail("key", "needs exactly one of log, uniform and choice");
  if (config.has("choice")) {
    axis.choices = config.require<std::vector<std::string>>("choice");
    if (axis.choices.empty()) config.fail("choice", "at least one value is needed");
  } else {
    axis.kind = config.has("log") ? Axis::Kind::kLog : Axis::Kind::kUniform;
    const std::string key = axis.kind == Axis::Kind::kLog ? "log" : "uniform";
    const auto range = config.require<std::vector<double>>(key);
    if (range.size() != 2 || !(range[0] < range[1]) ||
        (axis.kind == Axis::Kind::kLog && range[0] <= 0))
      config.fail(key, "expected [low, high], e.g. [0.001, 0.02]");
    axis.low = range[0];
    axis.high = range[1];
  }
  axis.variants = config.get<std::vector<std::string>>("variants", experiment.variant_names());
  check_variants(config, "variants", axis.variants, experiment);
  config.finish();
  return axis;
}

// The value at a quantile in [0, 1).
std::string value_at(const Axis& axis, double quantile) {
  switch (axis.kind) {
    case Axis::Kind::kLog:
      return fmt::format("{:.3g}",
                         std::exp(std::lerp(std::log(axis.low), std::log(axis.high), quantile)));
    case Axis::Kind::kUniform:
      return fmt::format("{:.3g}", std::lerp(axis.low, axis.high, quantile));
    case Axis::Kind::kChoice:
      return axis.choices[static_cast<size_t>(quantile * static_cast<double>(axis.choices.size()))];
  }
  return {};
}

// Quantiles of the trials after the first: one in each of as many equal parts, in random order.
std::vector<double> quantiles_of(const Axis& axis, int64_t seed, int64_t count) {
  Random random(static_cast<uint64_t>(seed), "tune " + axis.key);
  std::vector<double> quantiles;
  for (int64_t part = 0; part < count; ++part)
    quantiles.push_back((static_cast<double>(part) + random.uniform()) /
                        static_cast<double>(count));
  random.shuffle(quantiles);
  return quantiles;
}

struct Best {
  int64_t trial = 0;
  int64_t trials = 0;  // that have a result
  double auc = 0;
  double first = 0;  // of trial 0
};

std::string indented(const std::string& text, const std::string& space) {
  std::string result;
  for (const std::string_view line : split(text, '\n'))
    if (!line.empty()) result += space + std::string(line) + "\n";
  return result;
}

}  // namespace

TuneOptions TuneOptions::from(const Experiment& experiment) {
  const Config& config = experiment.tune;
  TuneOptions options{.train = config.section("train")};
  options.trials = config.get_int("trials", options.trials, 1, 100'000);
  options.user_share = config.get_number("user_share", options.user_share, 1e-6, 1);
  options.seed = config.get_int("seed", options.seed, 0, INT64_MAX);
  options.variants = config.get<std::vector<std::string>>("variants", experiment.variant_names());
  check_variants(config, "variants", options.variants, experiment);
  const Config inherit = config.section("inherit");
  for (const std::string& name : inherit.keys()) {
    const auto source = inherit.require<std::string>(name);
    check_variants(inherit, name, {name, source}, experiment);
    options.inherit.emplace_back(name, source);
  }
  inherit.finish();
  options.results =
      experiment.file.parent_path() /
      config.get<std::string>("results", fmt::format("results/{}-tuning.jsonl", experiment.name));
  for (const Config& axis : config.list("space"))
    options.space.push_back(read_axis(axis, experiment));
  if (options.space.empty())
    config.fail("space",
                "nothing to search, e.g. '- {key: train.learning_rate, log: [0.001, 0.02]}'");
  config.finish();
  return options;
}

std::vector<Adjustment> draw(const TuneOptions& options, const std::string& variant,
                             int64_t trial) {
  std::vector<Adjustment> adjustments;
  if (trial == 0) return adjustments;
  for (const Axis& axis : options.space) {
    if (std::find(axis.variants.begin(), axis.variants.end(), variant) == axis.variants.end())
      continue;
    const auto quantiles = quantiles_of(axis, options.seed, options.trials - 1);
    adjustments.push_back({axis.key, value_at(axis, quantiles[static_cast<size_t>(trial) - 1])});
  }
  return adjustments;
}

std::vector<Cell> plan_trials(const Experiment& experiment, const TuneOptions& options) {
  const Config nothing = Config::parse("{}");
  std::vector<Cell> cells;
  for (const std::string& backbone : experiment.backbones)
    for (const std::string& variant : options.variants)
      for (int64_t trial = 0; trial < options.trials; ++trial) {
        std::vector<Adjustment> adjustments = draw(options, variant, trial);
        adjustments.push_back({"split.user_share", fmt::format("{}", options.user_share)});
        for (const std::string& key : options.train.keys())
          adjustments.push_back({"train." + key, options.train.require<std::string>(key)});
        cells.push_back(make_cell(experiment, nothing,
                                  {.backbone = backbone,
                                   .variant = variant,
                                   .sweep = kSweep,
                                   .point = std::to_string(trial),
                                   .seed = options.seed},
                                  adjustments));
      }
  assign_groups(experiment, cells);
  return cells;
}

namespace {

// The best trial; nullopt unless every trial of the variant has a result.
std::optional<Best> best_of(const std::vector<Cell>& cells, const ResultStore& store,
                            const std::string& backbone, const std::string& variant) {
  Best best;
  for (const Cell& cell : cells) {
    if (cell.at.backbone != backbone || cell.at.variant != variant) continue;
    const Result* result = store.find(cell.key);
    if (result == nullptr) return std::nullopt;
    const int64_t trial = parse_int(cell.at.point).value_or(0);
    if (trial == 0) best.first = result->valid;
    if (best.trials++ == 0 || result->valid > best.auc) {
      best.trial = trial;
      best.auc = result->valid;
    }
  }
  return best.trials == 0 ? std::nullopt : std::optional(best);
}

// The section of a backbone; empty unless every variant has had all its trials.
std::string tuned_section(const TuneOptions& options, const std::vector<Cell>& cells,
                          const ResultStore& store, const std::string& backbone) {
  std::vector<std::pair<std::string, std::string>> sources;  // variant, whose trials
  for (const std::string& variant : options.variants)
    sources.emplace_back(variant, variant);
  sources.insert(sources.end(), options.inherit.begin(), options.inherit.end());
  std::string section = backbone + ":\n";
  for (const auto& [variant, source] : sources) {
    const std::optional<Best> best = best_of(cells, store, backbone, source);
    if (!best) return "";
    Config values = Config::parse("{}");
    for (const Adjustment& adjustment : draw(options, source, best->trial))
      values.set(adjustment.path, adjustment.yaml);
    const bool changes = !values.keys().empty();
    section += fmt::format("  {}:{}  # trial {} of {}{}: {:.4f}; as published {:.4f}\n", variant,
                           changes ? "" : " {}", best->trial, best->trials,
                           variant == source ? "" : " of " + source, best->auc, best->first);
    if (changes) section += indented(values.yaml(), "    ");
  }
  return section;
}

}  // namespace

std::string presets_text(const Experiment& experiment, const TuneOptions& options,
                         const ResultStore& store, const Config& before) {
  const std::vector<Cell> cells = plan_trials(experiment, options);
  std::string text = fmt::format(
      "# Written by `llmcf tune` from {}: the best of {} trials per backbone\n"
      "# and variant by validation {}, on {:.0f} % of the users (seed {}).\n",
      experiment.file.filename().string(), options.trials,
      models::is_sequence_backbone(experiment.backbones.front()) ? "NDCG@10" : "AUC",
      100 * options.user_share, options.seed);
  for (const std::string& backbone : models::all_backbone_names()) {
    const std::string section = tuned_section(options, cells, store, backbone);
    if (!section.empty())
      text += section;
    else if (before.has(backbone))
      text += backbone + ":\n" + indented(before.section(backbone).yaml(), "  ");
  }
  return text;
}

}  // namespace llmcf::pipeline::experiment
