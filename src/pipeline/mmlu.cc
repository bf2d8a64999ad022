#include "pipeline/mmlu.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/error.h"
#include "core/progress.h"
#include "core/strings.h"
#include "data/table_reader.h"

namespace llmcf::pipeline {

namespace {

namespace fs = std::filesystem;

constexpr size_t kChoices = 4;

struct Question {
  std::string text;
  std::array<std::string, kChoices> choices;
  size_t right = 0;
};

std::vector<Question> read_questions(const fs::path& file) {
  const data::Table table{.path = file, .header = false};
  const std::vector<std::string> columns = {"1", "2", "3", "4", "5", "6"};
  data::FaultCounter faults(0);
  data::TableReader reader(table, columns, faults);
  std::vector<Question> questions;
  reader.read(
      [](data::Batch&) {},
      [&](const data::Batch& batch, size_t row) {
        const auto cell = [&](size_t column) {
          return std::string(batch.cell(row, reader.slot(columns[column])));
        };
        const std::string letter = cell(5);
        if (letter.size() != 1 || letter[0] < 'A' || letter[0] > 'D')
          throw InputError(file.string(), batch.lines[row],
                           fmt::format("the answer is '{}', expected A, B, C or D", letter));
        questions.push_back(
            {cell(0), {cell(1), cell(2), cell(3), cell(4)}, static_cast<size_t>(letter[0] - 'A')});
      });
  return questions;
}

std::string write(const Question& question, bool answered) {
  std::string text = question.text;
  for (size_t choice = 0; choice < kChoices; ++choice)
    text += fmt::format("\n{}. {}", static_cast<char>('A' + choice), question.choices[choice]);
  text += "\nAnswer:";
  if (answered) text += fmt::format(" {}\n\n", static_cast<char>('A' + question.right));
  return text;
}

std::string title_of(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

// Asks the questions of one subject.
class Examiner {
 public:
  Examiner(llm::Engine& engine, int64_t shots) : engine_(engine), shots_(shots) {
    for (size_t choice = 0; choice < kChoices; ++choice)
      letters_.push_back(letter_ids(static_cast<char>('A' + choice)));
  }

  MmluSubject examine(const std::string& name, const std::vector<Question>& shown,
                      const std::vector<Question>& asked) const {
    MmluSubject subject{.name = name};
    const std::string heading = fmt::format(
        "The following are multiple choice questions (with answers) about {}.\n\n", title_of(name));
    for (const Question& question : asked) {
      const auto prompt = fitting_prompt(heading, shown, question);
      if (prompt.empty()) {
        ++subject.too_long;
        continue;
      }
      const auto logs = engine_.log_likelihoods(prompt, letters_);
      const auto best = std::max_element(logs.begin(), logs.end()) - logs.begin();
      ++subject.questions;
      subject.right += static_cast<size_t>(best) == question.right;
    }
    return subject;
  }

 private:
  // What follows "Answer:" where it ends in the letter.
  std::vector<int32_t> letter_ids(char letter) const {
    return engine_.tokenizer().encode(fmt::format(" {}", letter));
  }

  // With as many examples as fit; empty if not even the question does.
  std::vector<int32_t> fitting_prompt(const std::string& heading,
                                      const std::vector<Question>& shown,
                                      const Question& question) const {
    const int64_t most = std::min<int64_t>(shots_, static_cast<int64_t>(shown.size()));
    for (int64_t shots = most; shots >= 0; --shots) {
      std::string text = heading;
      for (int64_t shot = 0; shot < shots; ++shot)
        text += write(shown[static_cast<size_t>(shot)], true);
      auto prompt = engine_.raw_prompt(text + write(question, false));
      if (static_cast<int64_t>(prompt.size() + letters_[0].size()) <= engine_.capacity())
        return prompt;
    }
    return {};
  }

  llm::Engine& engine_;
  int64_t shots_;
  std::vector<std::vector<int32_t>> letters_;
};

}  // namespace

double MmluReport::accuracy() const {
  return questions == 0 ? 0 : static_cast<double>(right) / static_cast<double>(questions);
}

double MmluReport::mean_accuracy() const {
  double sum = 0;
  for (const MmluSubject& subject : subjects)
    sum += subject.accuracy();
  return subjects.empty() ? 0 : sum / static_cast<double>(subjects.size());
}

MmluReport run_mmlu(const MmluOptions& options, llm::Engine& engine) {
  constexpr std::string_view kEnding = "_test.csv";
  std::vector<std::string> names;
  const fs::path tests = options.data / "test";
  if (fs::is_directory(tests))
    for (const auto& entry : fs::directory_iterator(tests))
      if (const auto name = entry.path().filename().string(); name.ends_with(kEnding))
        names.push_back(name.substr(0, name.size() - kEnding.size()));
  if (names.empty())
    throw Error(fmt::format("{}: expected dev/<subject>_dev.csv and test/<subject>_test.csv",
                            options.data.string()));
  std::sort(names.begin(), names.end());
  const Examiner examiner(engine, options.shots);
  MmluReport report;
  Progress progress("mmlu", static_cast<int64_t>(names.size()), "subjects");
  for (const std::string& name : names) {
    const auto shown = options.shots == 0
                           ? std::vector<Question>()
                           : read_questions(options.data / "dev" / (name + "_dev.csv"));
    auto asked = read_questions(tests / (name + "_test.csv"));
    if (options.limit > 0 && static_cast<int64_t>(asked.size()) > options.limit)
      asked.resize(static_cast<size_t>(options.limit));
    report.subjects.push_back(examiner.examine(name, shown, asked));
    report.questions += report.subjects.back().questions;
    report.right += report.subjects.back().right;
    report.too_long += report.subjects.back().too_long;
    progress.advance(1);
  }
  return report;
}

}  // namespace llmcf::pipeline
