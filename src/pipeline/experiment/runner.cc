#include "pipeline/experiment/runner.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <set>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/strings.h"
#include "pipeline/experiment/jobs.h"
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

fs::path run_directory(const Cell& cell) {
  return cell.config.workspace / "runs" / cell.config.variants.front().name /
         fmt::format("seed-{}", cell.at.seed);
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
    fs::create_hard_link(entry.path(), target);
  }
}

// Prefers a workspace with the same rows, texts and reasoner, then the same reasoner, then any.
const RunConfig* best_sibling(const std::vector<Cell>& cells, const RunConfig& wanted) {
  const RunConfig* best = nullptr;
  int best_score = -1;
  for (const Cell& cell : cells) {
    const RunConfig& other = cell.config;
    if (other.workspace == wanted.workspace ||
        !fs::exists(other.workspace / "state" / "import.json"))
      continue;
    const int score = 2 * (other.reason.canonical() == wanted.reason.canonical()) +
                      (other.rows_key() == wanted.rows_key());
    if (score <= best_score) continue;
    best = &other;
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
    for (const std::string& group : order)
      train_group(missing[group]);
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
      if (const RunConfig* sibling = best_sibling(cells_, config)) seed_workspace(*sibling, config);
    }
    RunOptions prepare;
    prepare.until = last_shared_stage();
    pipeline::run(config, prepare);

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
    Result result = read_run(run_directory(cell));
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
    const double auc = options_.hides_test ? result.valid_auc : result.auc.value_or(0);
    if (options_.hides_test) {
      result.auc = result.log_loss = result.group_auc = result.auc_low = result.auc_high = {};
    }
    store_.add(result);
    fs::remove(run_directory(cell) / "last.safetensors");
    fs::remove(run_directory(cell) / "best.safetensors");
    ++report_.trained;
    const auto done = report_.trained + static_cast<int64_t>(report_.failed.size());
    log::info("[{}/{}] {}: {}AUC {:.4f} ({}, {:.0f} MiB); about {} left", done, total_,
              cell.at.label(), options_.hides_test ? "validation " : "", auc,
              duration_text(outcome.seconds), outcome.peak_mib,
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

void seed_workspace(const RunConfig& from, const RunConfig& to) {
  const Workspace source(from.workspace);  // nobody changes it meanwhile
  const fs::path temporary = to.workspace.string() + ".tmp.seed";
  fs::remove_all(temporary);
  fs::create_directories(temporary);
  for (const char* part : {"data", "text"})
    link_tree(from.workspace / part, temporary / part);
  bool same_reasoner = false;
  if (from.reason.canonical() == to.reason.canonical() && fs::exists(source.pool())) {
    fs::create_directories(temporary / "cot");
    fs::copy_file(source.pool(), temporary / "cot" / "pool.sqlite");
    same_reasoner = true;
  }
  fs::create_directories(temporary / "state");
  for (const auto& entry : fs::directory_iterator(from.workspace / "state")) {
    const std::string stage = entry.path().stem().string();  // "reason", "reason.knowledge", ...
    const bool early = stage == "import" || stage == "split" || stage == "encode";
    if (early || (same_reasoner && stage.starts_with("reason")))
      fs::copy_file(entry.path(), temporary / "state" / entry.path().filename());
  }
  if (fs::exists(from.workspace / "erased.txt"))
    fs::copy_file(from.workspace / "erased.txt", temporary / "erased.txt");
  fs::rename(temporary, to.workspace);
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
