#include "pipeline/language_judge.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/progress.h"
#include "core/random.h"
#include "cot/row_resolver.h"
#include "pipeline/journey.h"
#include "train/metrics.h"

namespace llmcf::pipeline {

namespace {

data::Split split_named(const std::string& name) {
  if (name == "train") return data::Split::kTrain;
  if (name == "valid") return data::Split::kValid;
  if (name == "test") return data::Split::kTest;
  throw Error(unknown_name("split", name, {"train", "valid", "test"}));
}

struct Question {
  cot::RenderedPrompt prompt;
  bool yes = false;
};

// Questions about sampled rows, in the split's order.
class QuestionJourney final : public Journey {
 public:
  explicit QuestionJourney(const RunConfig& config) : Journey(config, {}, Access::kAlone) {
    import();
    split();
  }

  std::vector<Question> questions(const JudgedRows& what) {
    const data::Rows& asked = rows().rows(split_named(what.split));
    std::vector<int64_t> order(static_cast<size_t>(asked.size()));
    std::iota(order.begin(), order.end(), 0);
    if (what.rows > 0 && what.rows < asked.size()) {
      Random random(static_cast<uint64_t>(what.seed), "judged rows " + what.split);
      random.shuffle(order);
      order.resize(static_cast<size_t>(what.rows));
      std::sort(order.begin(), order.end());
    }
    const cot::RowResolver resolver(dataset(), rows());
    std::vector<Question> result;
    for (const int64_t row : order) {
      const auto at = static_cast<size_t>(row);
      const cot::Facts facts = resolver.facts(asked.user[at], asked.position[at], asked.item[at],
                                              generate_options_.max_history);
      result.push_back(
          {teach_prompt_->render(facts, generate_options_.max_item_chars), asked.label[at] > 0.5F});
    }
    return result;
  }
};

}  // namespace

int64_t write_instructions(const RunConfig& config, const JudgedRows& what,
                           const std::filesystem::path& out) {
  std::string text = "[";
  const auto questions = QuestionJourney(config).questions(what);
  for (const Question& question : questions) {
    const nlohmann::ordered_json entry = {{"system", question.prompt.system},
                                          {"instruction", question.prompt.user},
                                          {"input", ""},
                                          {"output", question.yes ? "Yes" : "No"}};
    text += (text.size() > 1 ? ",\n" : "\n") + entry.dump();
  }
  write_file(out, text + "\n]\n");
  return static_cast<int64_t>(questions.size());
}

JudgeReport judge_rows(const RunConfig& config, const JudgedRows& what, llm::Engine& engine) {
  const auto questions = QuestionJourney(config).questions(what);
  const std::vector<std::vector<int32_t>> answers = {engine.tokenizer().encode("Yes"),
                                                     engine.tokenizer().encode("No")};
  const size_t longest = std::max(answers[0].size(), answers[1].size());
  JudgeReport report;
  std::vector<float> logits, labels;
  double published = 0;
  Progress progress("judge", static_cast<int64_t>(questions.size()), "rows");
  for (const Question& question : questions) {
    progress.advance(1);
    const std::vector<int32_t> prompt =
        engine.prompt(llm::question(question.prompt.system, question.prompt.user));
    if (static_cast<int64_t>(prompt.size() + longest) > engine.capacity()) {
      ++report.too_long;
      continue;
    }
    const std::vector<double> logs = engine.log_likelihoods(prompt, answers);
    const double yes = std::exp(logs[0]), no = std::exp(logs[1]);
    logits.push_back(static_cast<float>(logs[0] - logs[1]));
    labels.push_back(question.yes ? 1.0F : 0.0F);
    report.yes_and_no += yes + no;
    published += std::log1p(std::exp(question.yes ? no - yes : yes - no));
  }
  report.rows = static_cast<int64_t>(logits.size());
  if (report.rows == 0)
    throw Error(
        fmt::format("no question of {} rows fits the model's {} tokens; a smaller "
                    "reason.max_history makes them shorter",
                    report.too_long, engine.capacity()));
  const auto auc = train::auc(logits, labels);
  if (!auc) throw Error("all rows that were judged have one label: ask about more of them");
  const auto n = static_cast<double>(report.rows);
  report.auc = *auc;
  report.log_loss = train::log_loss(logits, labels);
  report.yes_and_no /= n;
  report.double_softmax_log_loss = published / n;
  return report;
}

}  // namespace llmcf::pipeline
