#include "pipeline/experiment/runner.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <optional>
#include <set>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/strings.h"
#include "cot/pool.h"
#include "pipeline/experiment/jobs.h"
#include "pipeline/experiment/keys.h"
#include "pipeline/report/format.h"
#include "pipeline/run.h"
#include "pipeline/version.h"
#include "pipeline/workspace.h"

namespace llmcf::pipeline::experiment {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The stage before train: what has to be there before cells are trained.
std::string last_shared_stage() {
  const auto& names = stage_names();
  const auto train = std::find(names.begin(), names.end(), "train");
  LLMCF_ASSERT(train != names.begin() && train != names.end());
  return *(train - 1);
}

std::string machine_name() {
  const std::string info = read_file("/proc/cpuinfo");
  for (const std::string_view line : split(info, '\n')) {
    if (!line.starts_with("model name")) continue;
    return std::string(trim(line.substr(line.find(':') + 1)));
  }
  return "unknown";
}

std::string digest_of_import(const fs::path& workspace) {
  const auto record =
      nlohmann::json::parse(read_file(workspace / "state" / "import.json"), nullptr, false);
  return record.is_object() ? record.value("digest", "") : "";
}

fs::path directory_of(const Cell& cell) {
  return run_directory(cell.config.workspace, cell.config.variants.front().name, cell.at.seed);
}

// The configuration that prepares a group: the sections are those of a cell that reads examples, if
// one does, and every variant is listed, since variants decide which stages have something to do.
RunConfig union_of(const std::vector<const Cell*>& cells) {
  const auto reader = std::find_if(cells.begin(), cells.end(),
                                   [](const Cell* cell) { return cell->reads_reasoning; });
  RunConfig config = reader == cells.end() ? cells.front()->config : (*reader)->config;
  config.variants.clear();
  std::set<std::string> names;
  for (const Cell* cell : cells)
    if (names.insert(cell->config.variants.front().name).second)
      config.variants.push_back(cell->config.variants.front());
  return config;
}

void link_tree(const fs::path& from, const fs::path& to) {
  if (!fs::exists(from)) return;
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    const fs::path target = to / fs::relative(entry.path(), from);
    if (entry.is_directory()) {
      fs::create_directories(target);
      continue;
    }
    fs::create_directories(target.parent_path());
    std::error_code cannot_link;
    fs::create_hard_link(entry.path(), target, cannot_link);
    if (cannot_link) fs::copy_file(entry.path(), target);
  }
}

// What a prepared workspace was made for, beside it: "<hash of the rows' key> <of the reasoner's>".
constexpr const char* kGroupFile = "group.txt";

std::string group_text(const RunConfig& config) {
  return hash_hex(rows_key(config)) + " " + hash_hex(reasoner_key(config)) + "\n";
}

struct Sibling {
  fs::path path;
  bool same_reasoner = false;
};

// Prefers a workspace with the same reasoner and rows, then the same reasoner, then the same rows,
// then any.
std::optional<Sibling> best_sibling(const fs::path& directory, const std::string& wanted) {
  std::optional<Sibling> best;
  int best_score = -1;
  if (!fs::exists(directory)) return best;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(directory))
    if (fs::exists(entry.path() / kGroupFile)) found.push_back(entry.path());
  std::sort(found.begin(), found.end());
  const auto wanted_parts = split(wanted, ' ');
  for (const fs::path& path : found) {
    const std::string text = read_file(path / kGroupFile);
    const auto parts = split(text, ' ');
    if (parts.size() != wanted_parts.size()) continue;
    const bool same_reasoner = parts[1] == wanted_parts[1];
    const int score = 2 * same_reasoner + (parts[0] == wanted_parts[0]);
    if (score <= best_score) continue;
    best = Sibling{path, same_reasoner};
    best_score = score;
  }
  return best;
}

class Runner {
 public:
  Runner(const Experiment& experiment, const std::vector<Cell>& cells, ResultStore& store,
         const RunnerOptions& options)
      : experiment_(experiment), cells_(cells), store_(store), options_(options) {}

  RunnerReport run() {
    std::vector<std::string> order;  // of groups, by first missing cell
    std::map<std::string, std::vector<const Cell*>> missing;
    std::set<std::string> keys;
    for (const Cell& cell : cells_) {
      if (!keys.insert(cell.key).second) continue;
      if (store_.find(cell.key) != nullptr) {
        ++report_.present;
        continue;
      }
      if (missing[cell.group].empty()) order.push_back(cell.group);
      missing[cell.group].push_back(&cell);
      ++total_;
    }
    log::info("{}: {} runs have results, {} are to be trained", experiment_.name, report_.present,
              total_);
    for (const std::string& group : order) {
      try {
        train_group(missing[group]);
      } catch (const Error& error) {
        for (const Cell* cell : missing[group])
          report_.failed.push_back(fmt::format("{}: {}", cell->at.label(), error.what()));
        log::error("{}", error.what());
      }
    }
    return report_;
  }

 private:
  bool has_time() const {
    return options_.minutes == 0 || seconds_since(start_) < options_.minutes * 60;
  }

  void train_group(const std::vector<const Cell*>& cells) {
    if (!has_time()) {
      report_.left += static_cast<int64_t>(cells.size());
      return;
    }
    const RunConfig config = union_of(cells);
    if (!fs::exists(config.workspace)) {
      if (const auto sibling = best_sibling(experiment_.workspace, group_text(config)))
        seed_workspace(sibling->path, config.workspace, sibling->same_reasoner);
    }
    RunOptions prepare;
    prepare.until = last_shared_stage();
    pipeline::run(config, prepare);
    write_file(config.workspace / kGroupFile, group_text(config));
    check_data(cells.front()->group, digest_of_import(config.workspace));

    std::vector<Job> jobs;
    for (const Cell* cell : cells)
      jobs.push_back(job_of(*cell));
    const JobOptions& limits = experiment_.jobs;
    size_t begun = 0;
    run_jobs(
        jobs,
        {.processes = processes_for(limits.processes, limits.threads, limits.memory_mib),
         .memory_mib = limits.memory_mib,
         .may_start = [this] { return has_time(); }},
        [&](size_t job) {
          ++begun;
          log::debug("started: {}", cells[job]->at.label());
        },
        [&](size_t job, const JobOutcome& outcome) { finish(*cells[job], outcome); });
    report_.left += static_cast<int64_t>(cells.size() - begun);
  }

  // Throws Error if the group has results that were made from other data than it holds.
  void check_data(const std::string& group, const std::string& digest) const {
    for (const Cell& cell : cells_) {
      const Result* result = cell.group == group ? store_.find(cell.key) : nullptr;
      if (result == nullptr || result->dataset == digest) continue;
      throw Error(fmt::format(
          "{}: the result of '{}' was made from other data (digest {}, here {}). Name another "
          "file with --set results=FILE, or point `data` at the data of the results.",
          store_.path().string(), cell.at.label(), result->dataset, digest));
    }
  }

  Job job_of(const Cell& cell) const {
    std::vector<std::string> arguments = {
        "--threads",      std::to_string(experiment_.jobs.threads),
        "--log-level",    "info",
        options_.command, experiment_.file.string(),
        "--cell",         cell.key};
    for (const std::string& text : experiment_.overrides) {
      arguments.emplace_back("--set");
      arguments.push_back(text);
    }
    return {.arguments = std::move(arguments),
            .log = experiment_.workspace / "logs" / (cell.key.substr(0, 16) + ".log")};
  }

  void finish(const Cell& cell, const JobOutcome& outcome) {
    if (!outcome.succeeded) {
      report_.failed.push_back(fmt::format("{}: {}", cell.at.label(), outcome.reason));
      log::error("{}", report_.failed.back());
      return;
    }
    Result result = read_run(directory_of(cell));
    result.key = cell.key;
    result.experiment = experiment_.name;
    result.at = cell.at;
    result.seconds = outcome.seconds;
    result.peak_mib = outcome.peak_mib;
    result.threads = experiment_.jobs.threads;
    result.protocol = cell.config.protocol;
    result.config = "model: " + cell.config.variants.front().model.canonical() +
                    " train: " + cell.config.variants.front().train.canonical();
    result.dataset = digest_of_import(cell.config.workspace);
    result.version = kVersion;
    result.machine = machine_name();
    result.finished = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)));
    const Task task = task_of(cell.config.variants);
    const double figure = options_.hides_test ? result.valid : figures_of(task, result).front();
    if (options_.hides_test) {
      result.auc = result.log_loss = result.group_auc = result.auc_low = result.auc_high = {};
      result.figures = {};
    }
    store_.add(result);
    fs::remove(directory_of(cell) / "last.safetensors");
    fs::remove(directory_of(cell) / "best.safetensors");
    ++report_.trained;
    const auto done = report_.trained + static_cast<int64_t>(report_.failed.size());
    log::info("[{}/{}] {}: {}{} {:.4f} ({}, {:.0f} MiB); about {} left", done, total_,
              cell.at.label(), options_.hides_test ? "validation " : "",
              measures_of(task).metrics.front().name, figure, duration_text(outcome.seconds),
              outcome.peak_mib,
              duration_text(seconds_since(start_) / static_cast<double>(done) *
                            static_cast<double>(total_ - done)));
  }

  const Experiment& experiment_;
  const std::vector<Cell>& cells_;
  ResultStore& store_;
  const RunnerOptions& options_;
  const Clock::time_point start_ = Clock::now();
  int64_t total_ = 0;
  RunnerReport report_;
};

}  // namespace

void seed_workspace(const fs::path& from, const fs::path& to, bool same_reasoner) {
  const Workspace source(from);  // nobody changes it meanwhile
  const fs::path temporary = to.string() + ".tmp.seed";
  fs::remove_all(temporary);
  fs::create_directories(temporary / "state");
  for (const char* part : {"data", "text"})
    link_tree(from / part, temporary / part);
  const bool has_pool = same_reasoner && fs::exists(source.pool());
  if (has_pool) {
    // What a killed process left in the log beside the file gets into it.
    { const cot::Pool opened(source.pool()); }
    fs::create_directories(temporary / "cot");
    fs::copy_file(source.pool(), temporary / "cot" / "pool.sqlite");
  }
  for (const auto& entry : fs::directory_iterator(from / "state")) {
    const std::string stage = entry.path().stem().string();  // "reason", "reason.knowledge", ...
    const bool early = stage == "import" || stage == "split" || stage == "encode";
    if (early || (has_pool && stage.starts_with("reason")))
      fs::copy_file(entry.path(), temporary / "state" / entry.path().filename());
  }
  if (fs::exists(from / "erased.txt")) fs::copy_file(from / "erased.txt", temporary / "erased.txt");
  fs::rename(temporary, to);
}

RunnerReport train_missing(const Experiment& experiment, const std::vector<Cell>& cells,
                           ResultStore& store, const RunnerOptions& options) {
  return Runner(experiment, cells, store, options).run();
}

void train_cell(const std::vector<Cell>& cells, const std::string& key) {
  const auto found =
      std::find_if(cells.begin(), cells.end(), [&](const Cell& cell) { return cell.key == key; });
  if (found == cells.end())
    throw Error(fmt::format("no run of the experiment has the key {}: did the file change?", key));
  RunOptions options;
  options.until = "train";
  options.shared = true;
  pipeline::run(found->config, options);
}

}  // namespace llmcf::pipeline::experiment
