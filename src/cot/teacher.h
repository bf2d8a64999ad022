// Teacher scores for distillation: per row, the logits of Yes and No to "would this user take this
// item?". (The paper's section 4.1.3 distils its instruction-tuned model; public code: `_kd`.)
//
// Two sources. A reasoner that judges (endpoint with logprobs) is asked the question and the
// log-probabilities of its first token are read. Otherwise the template reasoner's alignment score,
// named "template alignment score" wherever it appears: overlap of history and target in [0, 1],
// made a logit by two numbers that are fitted to the taught training rows' labels.
//
// Rows without a score are NaN and get no distillation term.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/safetensors.h"
#include "cot/knowledge.h"

namespace llmcf::cot {

// Section `teach`; its key `prompt` is read by Prompt::from.
struct TeachOptions {
  double share = 1;          // of the training rows that have a teacher, in [0, 1]
  double measure_share = 1;  // of validation and test rows: for the teacher's own AUC only
  int64_t seed = 2023;       // of the share
  // The published code hands on softmax([P(Yes), P(No)]) as if they were logits, which squeezes
  // every target towards one half.
  bool double_softmax = false;

  // `asks`: rows cost requests; then share is 0.1 and measure_share 0 unless the section says more.
  static TeachOptions from(const Config& teach, bool asks);
};

inline constexpr const char* kTemplateTeacher = "template alignment score";

// The rows that have a teacher, as jobs; an erased user's are the pool's to leave out.
std::vector<KnowledgeJob> teach_jobs(const data::Dataset& dataset, const data::RowSet& rows,
                                     const TeachOptions& options, int64_t max_history);

struct TeacherScores {
  std::string source;                        // kTemplateTeacher or "endpoint:<model>"
  std::array<std::vector<float>, 3> logits;  // by data::Split: [rows, 2] (Yes, No), NaN = no score
};

// The template's scores; needs no pool.
TeacherScores template_scores(const data::Dataset& dataset, const data::RowSet& rows,
                              const TeachOptions& options, int64_t max_history);
// What the pool's teacher said; `source` is empty if it has said nothing yet.
TeacherScores pool_scores(Pool& pool, const data::Dataset& dataset, const data::RowSet& rows,
                          const TeachOptions& options);

// `notes`: kept as metadata, e.g. the teacher's own AUC.
void save_teacher(const TeacherScores& scores, const std::map<std::string, std::string>& notes,
                  const std::filesystem::path& path);

class TeacherSet {
 public:
  // Throws InputError if the file is missing, damaged or of another format version.
  explicit TeacherSet(const std::filesystem::path& path);

  const std::string& source() const { return reader_->metadata("source"); }
  const std::string& note(const std::string& key) const { return reader_->metadata(key); }
  std::span<const float> logits(data::Split split) const;  // [rows, 2]
  // Throws Error, naming what to do, if no training row has a score: nothing can be learnt from it.
  void check_teaches() const;

 private:
  std::unique_ptr<SafetensorsReader> reader_;
};

}  // namespace llmcf::cot
