#include "pipeline/experiment/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "models/options.h"
#include "pipeline/experiment/keys.h"

namespace llmcf::pipeline::experiment {

namespace {

// Raise it when the same configuration trains to other results.
constexpr int kResultFormat = 2;
constexpr size_t kShortKey = 8;
// The point of a sweep that changes nothing.
constexpr const char* kAsIs = "as is";

template <typename T>
void refuse_repeated(const Config& config, const std::string& key, std::vector<T> values) {
  std::sort(values.begin(), values.end());
  const auto twice = std::adjacent_find(values.begin(), values.end());
  if (twice != values.end())
    config.fail(key, fmt::format("{} stands twice; means and tests would count it twice", *twice));
}

// A list of names below `key`, each one of `known`; all of them if absent.
std::vector<std::string> read_names(const Config& config, const std::string& key, const char* kind,
                                    const std::vector<std::string>& known) {
  const auto names = config.get<std::vector<std::string>>(key, known);
  if (names.empty()) config.fail(key, fmt::format("names no {}", kind));
  for (const std::string& name : names)
    if (std::find(known.begin(), known.end(), name) == known.end())
      config.fail(key, unknown_name(kind, name, known));
  return names;
}

std::vector<Overlay> read_variants(const Config& config) {
  std::vector<Overlay> variants;
  std::set<std::string> seen;
  for (const Config& entry : config.list("variants")) {
    const auto name = entry.require<std::string>("name");
    check_directory_name(entry, name);
    if (!seen.insert(name).second)
      entry.fail("name", fmt::format("two variants are named '{}'", name));
    variants.push_back({name, entry});
  }
  if (variants.empty())
    config.fail("variants",
                "at least one is needed, e.g. '- {name: none, model: {context: none}}'");
  return variants;
}

std::vector<PoolArm> read_pools(const Config& config, const Experiment& experiment) {
  std::vector<PoolArm> pools;
  for (const Config& entry : config.list("pools")) {
    PoolArm pool{.name = entry.require<std::string>("name"),
                 .config = entry.section("run"),
                 .variants = read_names(entry, "variants", "variant", experiment.variant_names()),
                 .backbones = read_names(entry, "backbones", "backbone", experiment.backbones)};
    check_directory_name(entry, pool.name);
    entry.finish();
    for (const PoolArm& other : pools)
      if (other.name == pool.name)
        entry.fail("name", fmt::format("two pools are named '{}'", pool.name));
    pools.push_back(std::move(pool));
  }
  return pools;
}

std::vector<Sweep> read_sweeps(const Config& config, const Experiment& experiment) {
  std::vector<Sweep> sweeps;
  for (const Config& entry : config.list("sweeps")) {
    Sweep sweep{.name = entry.require<std::string>("name"),
                .title = {},
                .key = entry.require<std::string>("key"),
                .values = entry.require<std::vector<std::string>>("values"),
                .labels = {},
                .variants = read_names(entry, "variants", "variant", experiment.variant_names()),
                .backbones = read_names(entry, "backbones", "backbone", experiment.backbones),
                .seeds = entry.get<std::vector<int64_t>>("seeds", experiment.seeds)};
    sweep.title = entry.get<std::string>("title", sweep.name);
    sweep.labels = entry.get<std::vector<std::string>>("labels", sweep.values);
    if (sweep.values.empty()) entry.fail("values", "at least one is needed");
    if (sweep.labels.size() != sweep.values.size())
      entry.fail("labels",
                 fmt::format("{} labels for {} values", sweep.labels.size(), sweep.values.size()));
    entry.finish();
    refuse_repeated(entry, "labels", sweep.labels);
    refuse_repeated(entry, "seeds", sweep.seeds);
    for (const Sweep& other : sweeps)
      if (other.name == sweep.name)
        entry.fail("name", fmt::format("two sweeps are named '{}'", sweep.name));
    sweeps.push_back(std::move(sweep));
  }
  return sweeps;
}

JobOptions read_jobs(const Config& config) {
  JobOptions options;
  options.processes = config.get_int("processes", options.processes, 0, 4096);
  options.threads = config.get_int("threads", options.threads, 1, 1024);
  options.memory_mib = config.get_int("memory_mib", options.memory_mib, 1024, int64_t{1} << 30);
  config.finish();
  return options;
}

// Whether the model reads anything that a reasoner made.
bool reads_reasoning(const models::ModelOptions& model) {
  return models::uses_retrieval(model) || model.context == models::ContextKind::kKar ||
         model.distillation_weight > 0;
}

std::string key_of(const Cell& cell) {
  const RunConfig& run = cell.config;
  Hasher hasher;
  hasher.add_field(std::to_string(kResultFormat));
  hasher.add_field(rows_key(run));
  hasher.add_field(cell.reads_reasoning ? examples_key(run) : "");
  hasher.add_field(run.variants.front().model.canonical());
  hasher.add_field(run.variants.front().train.canonical());
  hasher.add_field(std::to_string(cell.at.seed));
  return hasher.hex();
}

// The overrides of section `run`, without its name.
std::vector<std::string> run_overrides(const Experiment& experiment) {
  constexpr std::string_view kRun = "run.";
  std::vector<std::string> overrides;
  for (const std::string& text : experiment.overrides)
    if (text.starts_with(kRun)) overrides.push_back(text.substr(kRun.size()));
  return overrides;
}

std::string hash_of(std::initializer_list<std::string> parts) {
  Hasher hasher;
  for (const std::string& part : parts)
    hasher.add_field(part);
  return hasher.hex().substr(0, kShortKey);
}

}  // namespace

Experiment Experiment::load(const std::filesystem::path& file,
                            const std::vector<std::string>& overrides) {
  Config config = Config::load(file);
  apply_overrides(config, overrides);
  Experiment experiment{.file = file,
                        .overrides = overrides,
                        .run = config.section("run"),
                        .tune = config.section("tune")};
  experiment.name = config.get<std::string>("name", file.stem().string());
  const std::filesystem::path base = config.directory();
  experiment.workspace = base / config.get<std::string>("workspace", "work/" + experiment.name);
  experiment.results =
      base / config.get<std::string>("results", "results/" + experiment.name + ".jsonl");
  if (config.has("presets")) experiment.presets = base / config.get<std::string>("presets", "");
  experiment.seeds = config.get<std::vector<int64_t>>("seeds", {2023, 2024, 2025});
  if (experiment.seeds.empty()) config.fail("seeds", "at least one seed is needed");
  refuse_repeated(config, "seeds", experiment.seeds);
  experiment.backbones = config.has("backbones") ? read_names(config, "backbones", "backbone",
                                                              models::all_backbone_names())
                                                 : models::backbone_names();
  for (const std::string& name : experiment.backbones)
    if (models::is_sequence_backbone(name) !=
        models::is_sequence_backbone(experiment.backbones.front()))
      config.fail("backbones",
                  fmt::format("'{}' and '{}' are judged differently (clicks, the next item); put "
                              "them into experiments of their own",
                              experiment.backbones.front(), name));
  experiment.variants = read_variants(config);
  experiment.baseline =
      config.get_choice("baseline", experiment.variants.front().name, experiment.variant_names());
  experiment.pools = read_pools(config, experiment);
  experiment.sweeps = read_sweeps(config, experiment);
  experiment.jobs = read_jobs(config.section("jobs"));
  config.finish();
  return experiment;
}

std::vector<std::string> Experiment::variant_names() const {
  std::vector<std::string> names;
  for (const Overlay& overlay : variants)
    names.push_back(overlay.name);
  return names;
}

const Overlay& Experiment::variant(const std::string& wanted) const {
  for (const Overlay& overlay : variants)
    if (overlay.name == wanted) return overlay;
  throw Error(unknown_name("variant", wanted, variant_names()));
}

std::string Coordinates::label() const {
  std::string text = fmt::format("{} {}", backbone, variant);
  if (!pool.empty()) text += fmt::format(", pool {}", pool);
  if (!sweep.empty()) text += fmt::format(", {} = {}", sweep, point);
  return text + fmt::format(", seed {}", seed);
}

Config load_presets(const Experiment& experiment) {
  if (experiment.presets.empty() || !std::filesystem::exists(experiment.presets))
    return Config::parse("{}");
  Config presets = Config::load(experiment.presets);
  const auto known = models::all_backbone_names();
  for (const std::string& name : presets.keys())
    if (std::find(known.begin(), known.end(), name) == known.end())
      presets.fail(name, unknown_name("backbone", name, known));
  return presets;
}

Cell make_cell(const Experiment& experiment, const Config& presets, const Coordinates& at,
               const std::vector<Adjustment>& adjustments) {
  Config tree = Config::overlay(experiment.run, experiment.variant(at.variant).config);
  for (const PoolArm& pool : experiment.pools)
    if (pool.name == at.pool) tree = Config::overlay(tree, pool.config);
  tree.set("model.backbone", at.backbone);
  tree = Config::overlay(tree, presets.section(at.backbone).section(at.variant));
  apply_overrides(tree, run_overrides(experiment));  // what a person says wins over presets
  for (const Adjustment& adjustment : adjustments)
    tree.set(adjustment.path, adjustment.yaml);
  tree.set("variants", "[{name: cell}]");
  tree.set("seeds", fmt::format("[{}]", at.seed));
  tree.set("workspace", "unset");
  Cell cell{.at = at, .key = {}, .group = {}, .config = RunConfig::from(tree, experiment.name)};
  Variant& variant = cell.config.variants.front();
  cell.reads_reasoning =
      reads_reasoning(models::ModelOptions::from(variant.model, cell.config.protocol));
  cell.key = key_of(cell);
  variant.name = fmt::format("{}.{}.{}", at.backbone, at.variant, cell.key.substr(0, kShortKey));
  return cell;
}

void assign_groups(const Experiment& experiment, std::vector<Cell>& cells) {
  std::map<std::string, std::string> first;  // by rows: a group that has them
  for (Cell& cell : cells) {
    if (!cell.reads_reasoning) continue;
    cell.group = hash_of({rows_key(cell.config), examples_key(cell.config)});
    first.emplace(rows_key(cell.config), cell.group);
  }
  for (Cell& cell : cells) {
    if (cell.group.empty())
      cell.group =
          first.emplace(rows_key(cell.config), hash_of({rows_key(cell.config)})).first->second;
    cell.config.workspace = experiment.workspace / cell.group;
  }
}

std::vector<Cell> plan(const Experiment& experiment) {
  const Config presets = load_presets(experiment);
  std::vector<Cell> cells;
  const auto add = [&](const Coordinates& at, const std::vector<Adjustment>& adjustments) {
    cells.push_back(make_cell(experiment, presets, at, adjustments));
  };
  for (const std::string& backbone : experiment.backbones)
    for (const int64_t seed : experiment.seeds)
      for (const Overlay& variant : experiment.variants)
        add({.backbone = backbone, .variant = variant.name, .seed = seed}, {});
  for (const PoolArm& pool : experiment.pools)
    for (const std::string& backbone : pool.backbones)
      for (const int64_t seed : experiment.seeds)
        for (const std::string& variant : pool.variants)
          add({.backbone = backbone, .variant = variant, .pool = pool.name, .seed = seed}, {});
  for (const Sweep& sweep : experiment.sweeps)
    for (const std::string& backbone : sweep.backbones)
      for (const int64_t seed : sweep.seeds)
        for (const std::string& variant : sweep.variants)
          for (size_t point = 0; point < sweep.values.size(); ++point)
            add({.backbone = backbone,
                 .variant = variant,
                 .sweep = sweep.name,
                 .point = sweep.labels[point],
                 .seed = seed},
                sweep.values[point] == kAsIs
                    ? std::vector<Adjustment>{}
                    : std::vector<Adjustment>{{sweep.key, sweep.values[point]}});
  assign_groups(experiment, cells);
  return cells;
}

}  // namespace llmcf::pipeline::experiment
