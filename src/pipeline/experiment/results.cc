#include "pipeline/experiment/results.h"

#include <algorithm>
#include <limits>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/strings.h"
#include "train/run_log.h"

namespace llmcf::pipeline::experiment {

namespace {

using Json = nlohmann::ordered_json;

Json json_of(const std::optional<double>& value) {
  return value ? Json(*value) : Json(nullptr);
}

std::optional<double> optional_number(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::nullopt;
  return found->get<double>();
}

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

std::vector<double> figures_of(Task task, const Result& result) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (task == Task::kClicks)
    return {result.auc.value_or(kNone), result.log_loss.value_or(kNone),
            result.group_auc.value_or(kNone)};
  std::vector<double> figures;
  for (const std::string& name : measures_of(task).names)
    figures.push_back(result.figures.all().empty() ? kNone : result.figures.at(name));
  return figures;
}

std::string result_line(const Result& result) {
  const Coordinates& at = result.at;
  Json line = {{"key", result.key},       {"experiment", result.experiment},
               {"backbone", at.backbone}, {"variant", at.variant},
               {"pool", at.pool},         {"sweep", at.sweep},
               {"point", at.point},       {"seed", at.seed}};
  if (result.valid_log_loss) {
    line.update({{"auc", json_of(result.auc)},
                 {"log_loss", json_of(result.log_loss)},
                 {"gauc", json_of(result.group_auc)},
                 {"auc_low", json_of(result.auc_low)},
                 {"auc_high", json_of(result.auc_high)},
                 {"valid_auc", result.valid},
                 {"valid_log_loss", *result.valid_log_loss}});
  } else {
    line["figures"] = Json::object();
    for (const auto& [name, value] : result.figures.all())
      line["figures"][name] = value;
    line["valid_ndcg@10"] = result.valid;
  }
  line.update({{"best_epoch", result.best_epoch},
               {"epochs", result.epochs},
               {"train_rows_per_second", result.train_rows_per_second},
               {"seconds", result.seconds},
               {"peak_mib", result.peak_mib},
               {"threads", result.threads},
               {"protocol", result.protocol},
               {"config", result.config},
               {"dataset", result.dataset},
               {"version", result.version},
               {"machine", result.machine},
               {"finished", result.finished}});
  return line.dump();
}

Result parse_result(const std::string& text, const std::string& file, int64_t line) {
  try {
    const Json json = Json::parse(text);
    train::Figures figures;
    if (json.contains("figures"))
      for (const auto& [name, value] : json.at("figures").items())
        figures.add(name, value);
    return {.key = json.at("key"),
            .experiment = json.at("experiment"),
            .at = {.backbone = json.at("backbone"),
                   .variant = json.at("variant"),
                   .pool = json.at("pool"),
                   .sweep = json.at("sweep"),
                   .point = json.at("point"),
                   .seed = json.at("seed")},
            .auc = optional_number(json, "auc"),
            .log_loss = optional_number(json, "log_loss"),
            .group_auc = optional_number(json, "gauc"),
            .auc_low = optional_number(json, "auc_low"),
            .auc_high = optional_number(json, "auc_high"),
            .figures = figures,
            .valid = json.at(json.contains("figures") ? "valid_ndcg@10" : "valid_auc"),
            .valid_log_loss = optional_number(json, "valid_log_loss"),
            .best_epoch = json.at("best_epoch"),
            .epochs = json.at("epochs"),
            .train_rows_per_second = json.at("train_rows_per_second"),
            .seconds = json.at("seconds"),
            .peak_mib = json.at("peak_mib"),
            .threads = json.at("threads"),
            .protocol = json.at("protocol"),
            .config = json.at("config"),
            .dataset = json.at("dataset"),
            .version = json.at("version"),
            .machine = json.at("machine"),
            .finished = json.at("finished")};
  } catch (const nlohmann::json::exception& error) {
    throw InputError(file, line,
                     fmt::format("not the line of a finished run ({}); remove the line, and the "
                                 "run is trained again",
                                 error.what()));
  }
}

Result read_run(const std::filesystem::path& directory) {
  const auto [run, rates] = train::read_run(directory);
  if (!run.finished) throw Error(fmt::format("{}: the run did not finish", directory.string()));
  const train::EpochResult& best = run.epochs.at(static_cast<size_t>(run.best_epoch) - 1);
  Result result;
  result.figures = run.test.figures;
  result.valid = best.valid.all().front().second;
  if (result.figures.all().empty()) {
    result.auc = run.test.auc;
    result.log_loss = run.test.log_loss;
    result.group_auc = run.test.group_auc;
    result.auc_low = run.test.auc_interval.low;
    result.auc_high = run.test.auc_interval.high;
    result.valid_log_loss = best.valid.at("log_loss");
  }
  result.best_epoch = run.best_epoch;
  result.epochs = static_cast<int64_t>(run.epochs.size());
  result.train_rows_per_second = median_of(rates);
  return result;
}

ResultStore::ResultStore(std::filesystem::path path, bool read_only) : path_(std::move(path)) {
  if (!read_only) lock();
  read();
}

void ResultStore::lock() {
  if (path_.has_parent_path()) std::filesystem::create_directories(path_.parent_path());
  const std::filesystem::path lock_path =
      path_.parent_path() / ("." + path_.filename().string() + ".lock");
  lock_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0 || ::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    if (lock_ >= 0) ::close(lock_);
    throw Error(
        fmt::format("{}: another process is writing these results; wait for it, or name "
                    "another file with --set results=FILE",
                    path_.string()));
  }
}

void ResultStore::read() {
  if (!std::filesystem::exists(path_)) return;
  const std::string text = read_file(path_);
  int64_t number = 0;
  for (const std::string_view line : split(text, '\n')) {
    ++number;
    if (line.empty()) continue;
    results_.push_back(parse_result(std::string(line), path_.string(), number));
    place_[results_.back().key] = results_.size() - 1;
  }
}

ResultStore::~ResultStore() {
  if (lock_ >= 0) ::close(lock_);
}

const Result* ResultStore::find(const std::string& key) const {
  const auto found = place_.find(key);
  return found == place_.end() ? nullptr : &results_[found->second];
}

void ResultStore::add(const Result& result) {
  LLMCF_ASSERT(lock_ >= 0);
  const auto [place, added] = place_.emplace(result.key, results_.size());
  if (added)
    results_.push_back(result);
  else
    results_[place->second] = result;
  save();
}

void ResultStore::save() const {
  std::string text;
  for (const Result& result : results_)
    text += result_line(result) + "\n";
  write_file(path_, text);
}

}  // namespace llmcf::pipeline::experiment
