#include "pipeline/experiment/recgen_study.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/strings.h"
#include "llm/engine.h"
#include "llm/model_directory.h"
#include "llm/perplexity.h"
#include "llm/tuning_run.h"
#include "pipeline/experiment/keys.h"
#include "pipeline/language_judge.h"
#include "pipeline/report/format.h"
#include "pipeline/report/page.h"

namespace llmcf::pipeline::experiment {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Arm {
  std::string name;
  bool recommend = false, general = false;
  std::vector<double> weights;  // of recommend and general, where both
  std::string from;             // Wise-FT: between the base and this arm
  double alpha = 0;
  Config tune = Config::parse("");
  bool tuned() const { return recommend || general; }
};

struct Plan {
  std::string name;
  fs::path workspace, results, base;
  uint64_t seed = 2023;
  int64_t recommend = 3000;
  JudgedRows judged{.split = "test", .rows = 5000};
  std::vector<fs::path> general;
  double held_out = 0.1;
  std::optional<RunConfig> run;
  std::string questions;  // what decides them, the same on every machine (keys.h)
  std::vector<Arm> arms;
};

Arm read_arm(const Config& config, const Config& tune, const std::vector<Arm>& before) {
  Arm arm;
  arm.name = config.require<std::string>("name");
  const auto learns = config.get<std::vector<std::string>>("learns", {});
  for (const std::string& what : learns) {
    if (what != "recommend" && what != "general")
      config.fail("learns", unknown_name("source", what, {"recommend", "general"}));
    (what == "recommend" ? arm.recommend : arm.general) = true;
  }
  arm.weights = config.get<std::vector<double>>("weights", {});
  if (!arm.weights.empty() && (learns.size() != 2 || arm.weights.size() != 2))
    config.fail("weights", "one for each of the two sources in 'learns'");
  arm.from = config.get<std::string>("from", "");
  if (!arm.from.empty()) {
    const auto other = std::find_if(before.begin(), before.end(),
                                    [&](const Arm& a) { return a.name == arm.from; });
    if (other == before.end() || !other->tuned() || other->tune.section("tune").has("lora"))
      config.fail("from", "names no arm above it that tunes a whole model");
    if (arm.tuned()) config.fail("from", "an arm is either tuned or between two others");
    arm.alpha = config.get_number("alpha", 0.5, 0, 1);
  }
  arm.tune = Config::overlay(tune, config.section("tune"));
  config.finish();
  return arm;
}

Plan read_plan(const Config& config) {
  Plan plan;
  const fs::path base = config.directory();
  plan.name = config.require<std::string>("name");
  plan.workspace = fs::absolute(base / config.require<std::string>("workspace"));
  plan.results = base / config.require<std::string>("results");
  plan.base = fs::absolute(base / config.require<std::string>("base"));
  plan.seed = static_cast<uint64_t>(config.get_int("seed", 2023, 0, INT64_MAX));
  plan.recommend = config.get_int("recommend", plan.recommend, 1, INT64_MAX);
  const Config judge = config.section("judge");
  plan.judged.split = judge.get_choice("split", "test", {"train", "valid", "test"});
  plan.judged.rows = judge.get_int("rows", plan.judged.rows, 1, INT64_MAX);
  judge.finish();
  plan.judged.seed = static_cast<int64_t>(plan.seed);
  for (const auto& file : config.get<std::vector<std::string>>("general", {}))
    plan.general.push_back(fs::absolute(base / file));
  if (plan.general.empty()) config.fail("general", "names no instruction file");
  plan.held_out = config.get_number("held_out", plan.held_out, 0.001, 0.5);
  Config run = config.section("run");
  run.set("workspace", (plan.workspace / "run").string());
  plan.run = RunConfig::from(run, plan.name);
  plan.questions = rows_key(*plan.run) + examples_key(*plan.run);
  const Config tune = config.section("tune");
  for (const Config& arm : config.list("arms"))
    plan.arms.push_back(read_arm(arm, tune, plan.arms));
  if (plan.arms.empty()) config.fail("arms", "names none");
  config.finish();
  return plan;
}

// Finished arms by key, one JSON object a line.
class Lines {
 public:
  explicit Lines(fs::path path) : path_(std::move(path)) {
    if (!fs::exists(path_)) return;
    int64_t number = 0;
    const std::string content = read_file(path_);
    for (const std::string_view line : split(content, '\n')) {
      ++number;
      if (trim(line).empty()) continue;
      try {
        const Json json = Json::parse(line);
        lines_[json.at("key").get<std::string>()] = json;
      } catch (const Json::exception& error) {
        throw InputError(path_.string(), number, fmt::format("no finished arm: {}", error.what()));
      }
    }
  }
  const Json* find(const std::string& key) const {
    const auto found = lines_.find(key);
    return found == lines_.end() ? nullptr : &found->second;
  }
  void add(const Json& line) {
    lines_[line.at("key").get<std::string>()] = line;
    const std::string before = fs::exists(path_) ? read_file(path_) : "";
    if (!path_.parent_path().empty()) fs::create_directories(path_.parent_path());
    write_file(path_, before + line.dump() + "\n");
  }

 private:
  fs::path path_;
  std::map<std::string, Json> lines_;
};

class Study {
 public:
  explicit Study(Plan plan) : plan_(std::move(plan)), lines_(plan_.results) {
    fs::create_directories(plan_.workspace);
  }

  StudyReport run(const std::vector<std::string>& wanted) {
    for (const Arm& arm : plan_.arms)
      if (wanted.empty() || std::find(wanted.begin(), wanted.end(), arm.name) != wanted.end())
        if (lines_.find(key_of(arm)) == nullptr) lines_.add(make(arm));
    return report();
  }

 private:
  const Arm& named(const std::string& name) const {
    return *std::find_if(plan_.arms.begin(), plan_.arms.end(),
                         [&](const Arm& arm) { return arm.name == name; });
  }
  // The same for the same weights and questions.
  std::string key_of(const Arm& arm) const {
    std::string text = fmt::format("{} {} {} {} {} {}", llm::model_identity({.model = plan_.base}),
                                   plan_.questions, plan_.seed, plan_.recommend, plan_.judged.split,
                                   plan_.judged.rows) +
                       fmt::format(" {} {} {} {} {}", plan_.held_out, arm.recommend, arm.general,
                                   arm.alpha, arm.tuned() ? arm.tune.canonical() : "");
    for (const double weight : arm.weights)
      text += fmt::format(" {}", weight);
    for (const fs::path& file : plan_.general)
      text += hash_file(file);
    if (!arm.from.empty()) text += key_of(named(arm.from));
    return hash_hex(text);
  }
  fs::path model_of(const Arm& arm) const {
    return plan_.workspace / "models" / fmt::format("{}-{}", arm.name, key_of(arm).substr(0, 12));
  }

  fs::path instructions() {
    const fs::path file = plan_.workspace / fmt::format("recommend-{}-{}.json", plan_.recommend,
                                                        hash_hex(plan_.questions).substr(0, 8));
    if (!fs::exists(file))
      write_instructions(
          *plan_.run,
          {.split = "train", .rows = plan_.recommend, .seed = static_cast<int64_t>(plan_.seed)},
          file);
    return file;
  }

  // What `llmcf llm tune` would read.
  Config tuning_of(const Arm& arm) {
    Config config = Config::overlay(Config::parse(""), arm.tune);
    config.set("model", Json(plan_.base.string()).dump());
    config.set("out", Json(model_of(arm).string()).dump());
    config.set("seed", std::to_string(plan_.seed));
    config.set("valid_share", std::to_string(plan_.held_out));
    Json data = Json::array();
    const auto add = [&](const fs::path& file, double weight) {
      Json source = {{"path", file.string()}};
      if (!arm.weights.empty()) source["weight"] = weight;
      data.push_back(source);
    };
    if (arm.recommend) add(instructions(), arm.weights.empty() ? 1 : arm.weights[0]);
    const auto files = static_cast<double>(plan_.general.size());
    if (arm.general)
      for (const fs::path& file : plan_.general)
        add(file, arm.weights.empty() ? 1 : arm.weights[1] / files);
    config.set("data", data.dump());
    return config;
  }

  Json make(const Arm& arm) {
    log::info("{}: arm {}", plan_.name, arm.name);
    Json line = {{"key", key_of(arm)}, {"study", plan_.name}, {"arm", arm.name}};
    llm::EngineOptions model{.model = plan_.base};
    const auto begin = std::chrono::steady_clock::now();
    if (arm.tuned()) {
      const bool adapter = arm.tune.section("tune").has("lora");
      (adapter ? model.adapter : model.model) = model_of(arm);
      if (!fs::exists(model_of(arm))) line["steps"] = llm::run_tuning(tuning_of(arm)).steps;
    } else if (!arm.from.empty()) {
      model.model = model_of(arm);
      const Arm& other = named(arm.from);
      if (!fs::exists(model_of(other)))
        throw Error(fmt::format("arm {} needs the weights of {}: {} is not there", arm.name,
                                other.name, model_of(other).string()));
      if (!fs::exists(model.model))
        llm::interpolate(plan_.base, model_of(other), arm.alpha, model.model);
    }
    line["minutes"] =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / 60;
    const llm::Perplexity general = llm::perplexity(model, plan_.general, plan_.held_out);
    llm::Engine engine(model);
    const JudgeReport judged = judge_rows(*plan_.run, plan_.judged, engine);
    line["auc"] = judged.auc;
    line["log_loss"] = judged.log_loss;
    line["yes_and_no"] = judged.yes_and_no;
    line["rows"] = judged.rows;
    line["perplexity"] = general.value;
    line["general_tokens"] = general.tokens;
    return line;
  }

  StudyReport report() const {
    StudyReport report{.name = plan_.name, .arms = {}, .page = plan_.workspace / "study.html"};
    for (const Arm& arm : plan_.arms) {
      StudyArm row{.name = arm.name};
      if (const Json* line = lines_.find(key_of(arm))) {
        row.finished = true;
        row.auc = line->at("auc");
        row.log_loss = line->at("log_loss");
        row.yes_and_no = line->at("yes_and_no");
        row.rows = line->at("rows");
        row.perplexity = line->at("perplexity");
        row.steps = line->value("steps", int64_t{0});
        row.minutes = line->value("minutes", 0.0);
      }
      report.arms.push_back(row);
    }
    write_page(report);
    return report;
  }

  static Chart chart_of(const std::string& id, const std::string& title, const std::string& what) {
    return {.kind = Chart::Kind::kInterval,
            .id = id,
            .title = title,
            .summary = what + " by arm, one run each.",
            .x_title = what,
            .y_title = "Arm",
            .x = {"run"}};
  }

  void write_page(const StudyReport& report) const {
    Page page;
    page.open_section("arms", "What tuning does",
                      "AUC: how the probabilities of Yes and No rank a fixed sample of rows. "
                      "Perplexity: of answers to general instructions that no arm has learned.");
    Chart auc = chart_of("auc", "Recommendation: AUC", "AUC");
    Chart general =
        chart_of("perplexity", "General ability: perplexity, lower is better", "perplexity");
    general.decimals = 2;
    for (const StudyArm& arm : report.arms) {
      if (!arm.finished) continue;
      const std::string color = series_color(auc.series.size());
      for (auto [chart, value] : {std::pair(&auc, arm.auc), std::pair(&general, arm.perplexity)})
        chart->series.push_back({.name = arm.name,
                                 .group = arm.name,
                                 .color = color,
                                 .values = {value},
                                 .low = value,
                                 .mean = value,
                                 .high = value});
    }
    page.body += grid_html(study_grid(report), "Arms");
    page.add_figures({auc, general});
    page.close_section();
    write_file(
        report.page,
        page_html(plan_.name,
                  {{"base", plan_.base.filename().string()},
                   {"rows judged", fmt::format("{} of {}", plan_.judged.rows, plan_.judged.split)},
                   {"training rows", with_commas(plan_.recommend)}},
                  page));
  }

  Plan plan_;
  Lines lines_;
};

}  // namespace

StudyReport run_recgen_study(const Config& config, const std::vector<std::string>& arms) {
  Plan plan = read_plan(config);
  for (const std::string& name : arms) {
    std::vector<std::string> known;
    for (const Arm& arm : plan.arms)
      known.push_back(arm.name);
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw Error(unknown_name("arm", name, known));
  }
  return Study(std::move(plan)).run(arms);
}

Grid study_grid(const StudyReport& report) {
  Grid grid = Grid::with_header(
      {"arm", "AUC", "LogLoss", "P(Yes) + P(No)", "perplexity, general", "steps"});
  for (const StudyArm& arm : report.arms) {
    if (!arm.finished) {
      grid.rows.push_back({arm.name, "not run", kDash, kDash, kDash, kDash});
      continue;
    }
    grid.rows.push_back({arm.name, fmt::format("{:.4f}", arm.auc),
                         fmt::format("{:.4f}", arm.log_loss), fmt::format("{:.3f}", arm.yes_and_no),
                         fmt::format("{:.2f}", arm.perplexity), std::to_string(arm.steps)});
  }
  return grid;
}

}  // namespace llmcf::pipeline::experiment
