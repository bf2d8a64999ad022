// Beam search over a language model's logits, with or without sampling, as Hugging Face's
// `generate(num_beams, do_sample, num_return_sequences)` understands it. No libtorch.
//
// Each step scores the extensions of every beam by the sum of its tokens' log probabilities (after
// repetition penalty and, where it samples, temperature, top_k and top_p, of which at least two
// tokens are kept), takes 2 * beams of all of them (the best; or drawn without replacement by their
// softmax), and goes through those from the best on: what ends a text is a result if it is among
// the first `beams`, others fill the beams. Results are ranked by score / number of tokens. The
// search ends when `beams` results are better than anything that may still come, or at the most
// tokens.
//
// Invariant: what is found depends on the request and the logits alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "llm/generation.h"
#include "text/language_tokenizer.h"

namespace llmcf::llm {

class BeamSearch {
 public:
  // `most_tokens`: of a result. All but the numbers must outlive this.
  BeamSearch(const GenerationRequest& request, const text::LanguageTokenizer& tokenizer,
             const std::vector<int32_t>& end_ids, int64_t most_tokens);

  // Beam i of the next step continues beam `parent` of this one with `token`.
  struct Extension {
    int32_t parent = 0;
    int32_t token = 0;
  };
  // One row of logits [V] per beam (the first time a single one), in the order of the extensions
  // returned before; they are changed. Returns `beams` extensions, or none when the search is over.
  std::vector<Extension> advance(const std::vector<std::span<float>>& logits);

  // The best results, best first: `returned` of them. After the last advance().
  std::vector<Generation> results();

 private:
  struct Beam {
    std::vector<int32_t> ids;
    std::string text;
    std::vector<TokenScore> scores;
    double score = 0;  // sum over its tokens
  };
  struct Candidate {
    int32_t beam = 0;
    int32_t token = 0;
    double score = 0;
  };
  struct Result {
    Beam beam;
    Finish finish = Finish::kLength;
    double rank = 0;  // score / tokens
  };

  std::vector<Candidate> options_of(const Beam& beam, int32_t index, std::span<float> row) const;
  std::vector<Candidate> choose(std::vector<Candidate> options);
  Beam extended(const Beam& beam, int32_t token, std::span<const float> own) const;
  bool ends(const Beam& beam, const Candidate& candidate, Result& result) const;
  void keep(Result result);

  const GenerationRequest& request_;
  const text::LanguageTokenizer& tokenizer_;
  const std::vector<int32_t>& end_ids_;
  const int64_t most_tokens_;
  Random random_;
  std::vector<Beam> beams_;
  std::vector<Result> results_;  // at most `beams`, best first
  std::vector<std::pair<std::string, float>> verdicts_;
  int64_t tokens_ = 0;  // of each beam
  bool over_ = false;
};

}  // namespace llmcf::llm
