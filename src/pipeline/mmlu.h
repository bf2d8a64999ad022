// MMLU (Hendrycks et al., ICLR 2021): multiple-choice questions by subject, answered after five
// examples of the subject. How much general knowledge tuning leaves.
//
// A directory holds dev/<subject>_dev.csv (the examples) and test/<subject>_test.csv, CSV without a
// header: question, four choices, the letter of the right one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "llm/engine.h"

namespace llmcf::pipeline {

struct MmluOptions {
  std::filesystem::path data;
  int64_t shots = 5;  // fewer where the prompt would not fit the model
  int64_t limit = 0;  // questions per subject; 0 = all
};

struct MmluSubject {
  std::string name;
  int64_t questions = 0, right = 0, too_long = 0;
  double accuracy() const {
    return questions == 0 ? 0 : static_cast<double>(right) / static_cast<double>(questions);
  }
};

struct MmluReport {
  std::vector<MmluSubject> subjects;  // by name
  int64_t questions = 0, right = 0, too_long = 0;
  double accuracy() const;       // over all questions
  double mean_accuracy() const;  // of the subjects
};

// The answer is the letter whose " A", " B", ... is the most likely continuation. Throws InputError
// naming file and line, Error if there is no subject.
MmluReport run_mmlu(const MmluOptions& options, llm::Engine& engine);

}  // namespace llmcf::pipeline
