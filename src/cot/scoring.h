// Scores of chains of thought: the paper's four terms through the text encoder, weighted mean.
// (Sun et al., CIKM 2024, section 3.2 and its public code.)
//
//   coherence     coherence_v2: the mean of (a) neighbouring sentences' cosine, averaged, and
//                 (b) 1 - repeated words / words. The public code measures jumps of sentiment with
//                 a lexicon instead of (a); there is none here, hence the name.
//   completeness  mean cosine with four fixed aspect sentences: profile, alignment, diversity,
//                 popularity and position bias
//   relevance     cosine with the row's input text (history and target)
//   consistency   cosine with a sentence that states the outcome
//
// Cosines below 0 count as 0. An answer shorter than `min_chars` characters or with "[INST]" in it
// scores 0 and is rejected; so is one below `min_score`.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "cot/pool.h"
#include "text/encoder.h"

namespace llmcf::cot {

struct ScoringOptions {
  double coherence = 0.25;  // weights; need not sum to 1
  double completeness = 0.25;
  double relevance = 0.25;
  double consistency = 0.25;
  int64_t min_chars = 10;  // code points
  double min_score = 0;    // 0 = every score is good enough

  // Section `reason.scoring`.
  static ScoringOptions from(const Config& section);
};

struct ScoringInput {
  std::string_view text;     // the answer
  std::string_view input;    // input_text()
  std::string_view outcome;  // outcome_sentence()
};

struct Judgement {
  Scores scores;
  bool accepted = false;
  std::string reason;  // "too_short", "prompt_echo", "low_score"; empty if accepted
};

// One call of the encoder for all distinct texts of the batch.
std::vector<Judgement> judge(std::span<const ScoringInput> inputs, const text::Encoder& encoder,
                             const ScoringOptions& options);

// "The user chose ITEM" or "The user did not choose ITEM".
std::string outcome_sentence(bool chosen, std::string_view item_text);

// Sentences of a text, trimmed; views into it.
std::vector<std::string_view> sentences(std::string_view text);

// The four texts of the completeness term.
std::span<const std::string_view> aspect_sentences();

}  // namespace llmcf::cot
