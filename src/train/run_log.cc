// See run_log.h.
#include "train/run_log.h"

#include <chrono>

#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/strings.h"

namespace llmcf::train {

namespace {

using Json = nlohmann::ordered_json;

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Json json_of(const Figures& figures) {
  Json json = Json::object();
  for (const auto& [name, value] : figures.all())
    json[name] = value;
  return json;
}

Figures figures_of(const Json& json) {
  Figures figures;
  for (const auto& [name, value] : json.items())
    figures.add(name, value);
  return figures;
}

// "test" of a sequence model's final line holds its figures and the rows, else a click model's.
Json json_of(const TestResult& test) {
  if (!test.figures.all().empty()) {
    Json json = json_of(test.figures);
    json["rows"] = test.rows;
    return json;
  }
  return {{"auc", test.auc},
          {"auc_low", test.auc_interval.low},
          {"auc_high", test.auc_interval.high},
          {"log_loss", test.log_loss},
          {"gauc", test.group_auc ? Json(*test.group_auc) : Json(nullptr)},
          {"rows", test.rows}};
}

TestResult test_of(Json json) {
  TestResult test;
  test.rows = json.at("rows");
  if (!json.contains("auc")) {
    json.erase("rows");
    test.figures = figures_of(json);
    return test;
  }
  test.auc = json.at("auc");
  test.log_loss = json.at("log_loss");
  test.auc_interval = {.low = json.at("auc_low"), .high = json.at("auc_high")};
  if (!json.at("gauc").is_null()) test.group_auc = json.at("gauc").get<double>();
  return test;
}

}  // namespace

std::string epoch_line(const EpochResult& epoch, bool best, const EpochTimes& times) {
  return Json{{"event", "epoch"},
              {"epoch", epoch.epoch},
              {"steps", epoch.steps},
              {"train",
               {{"loss", epoch.train.total},
                {"click", epoch.train.click},
                {"reconstruction", epoch.train.reconstruction},
                {"distillation", epoch.train.distillation}}},
              {"valid", json_of(epoch.valid)},
              {"best", best},
              {"time",
               {{"train_seconds", times.train_seconds},
                {"valid_seconds", times.valid_seconds},
                {"rows_per_second", times.rows_per_second},
                {"finished_at", unix_seconds()}}}}
      .dump();
}

std::string final_line(const TrainResult& result, double test_seconds) {
  return Json{{"event", "final"},
              {"epochs", result.epochs.size()},
              {"best_epoch", result.best_epoch},
              {"test", json_of(result.test)},
              {"time", {{"test_seconds", test_seconds}, {"finished_at", unix_seconds()}}}}
      .dump();
}

EpochResult parse_epoch_line(const std::string& line) {
  const Json json = Json::parse(line);
  const Json& train = json.at("train");
  return {.epoch = json.at("epoch"),
          .steps = json.at("steps"),
          .train = {.total = train.at("loss"),
                    .click = train.at("click"),
                    .reconstruction = train.at("reconstruction"),
                    .distillation = train.at("distillation")},
          .valid = figures_of(json.at("valid"))};
}

RunHistory read_run(const std::filesystem::path& directory) {
  const std::string text = read_file(directory / "metrics.jsonl");
  RunHistory run;
  run.result.finished = false;
  for (const std::string_view line : split(text, '\n')) {
    if (line.empty()) continue;
    const Json json = Json::parse(line);
    if (json.at("event") != "final") {
      run.result.epochs.push_back(parse_epoch_line(std::string(line)));
      run.rows_per_second.push_back(json.at("time").at("rows_per_second"));
      continue;
    }
    run.result.finished = true;
    run.result.best_epoch = json.at("best_epoch");
    run.result.test = test_of(json.at("test"));
  }
  return run;
}

RunLog::RunLog(std::filesystem::path directory, std::vector<std::string> lines, int64_t steps)
    : directory_(std::move(directory)),
      lines_(std::move(lines)),
      events_(directory_ / "events.out.tfevents.0.llmcf", unix_seconds(), steps > 0 ? steps : -1) {}

void RunLog::write() const {
  std::string text;
  for (const std::string& line : lines_)
    text += line + "\n";
  write_file(directory_ / "metrics.jsonl", text);
}

void RunLog::scalar(const std::string& tag, int64_t step, double value) {
  events_.scalar(tag, step, static_cast<float>(value), unix_seconds());
}

}  // namespace llmcf::train
