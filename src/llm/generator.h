// Texts from a language model: a queue of prompts, a fixed number of slots, every step one token
// for each running prompt. A prompt enters as soon as a slot is free (continuous batching).
//
// Invariants:
//  1. A generation depends on its own request alone (prompt, options, seed), not on what runs
//  beside
//     it, but for rounding: a prompt is read alone, and a row of a batch sees its own slot only.
//  2. A text never ends within a UTF-8 character, except where max_tokens cuts it, and never holds
//     what a stop string begins.
//  3. Not thread-safe: one thread submits and steps.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "llm/language_model.h"
#include "llm/sampling.h"
#include "text/language_tokenizer.h"

namespace llmcf::llm {

struct GenerationRequest {
  std::vector<int32_t> prompt;  // ids, at least one
  SamplingOptions sampling;
  int64_t max_tokens = 256;
  std::vector<std::string> stop;  // the text ends before the first of them; none is empty
  uint64_t seed = 0;
  int64_t sample = 0;  // which of several with this seed
  int64_t log_probabilities =
      -1;  // so many alternatives per token; 0 = of the token alone; -1 = none
};

enum class Finish { kEnd, kStop, kLength, kCancelled };
const char* finish_name(Finish finish);  // as OpenAI's servers say: "stop", "stop", "length", ...

struct TokenScore {
  int32_t id = 0;
  float log_probability = 0;
  std::vector<std::pair<int32_t, float>> alternatives;
};

struct Generation {
  std::vector<int32_t> ids;  // the end token is not among them
  std::string text;
  Finish finish = Finish::kLength;
  std::vector<TokenScore> scores;  // by token, if asked for
  int64_t prompt_tokens = 0;
};

struct GeneratorOptions {
  int64_t slots = 16;
  int64_t capacity = 0;  // tokens of a slot, prompt included; 0 = the model's max_positions
};

class Generator {
 public:
  // Gets more of a text; false cancels the generation.
  using OnText = std::function<bool(std::string_view piece)>;
  using OnDone = std::function<void(Generation)>;

  // Both must outlive this.
  Generator(const LanguageModel& model, const text::LanguageTokenizer& tokenizer,
            const GeneratorOptions& options);
  ~Generator();

  // Throws Error naming what does not fit. Callbacks are called from step().
  void submit(GenerationRequest request, OnDone on_done, OnText on_text = {});
  // Admits waiting prompts and makes one token for each running one. False if there is none.
  bool step();
  int64_t running() const;
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t capacity() const { return cache_.capacity(); }

  // All of them, in order.
  std::vector<Generation> run(std::vector<GenerationRequest> requests);

 private:
  struct Running;
  void admit();
  void take(Running& running, std::span<float> logits);
  void finish(size_t slot);

  const LanguageModel& model_;
  const text::LanguageTokenizer& tokenizer_;
  KvCache cache_;
  std::deque<std::unique_ptr<Running>> waiting_;
  std::vector<std::unique_ptr<Running>> running_;  // by slot, without gaps
};

}  // namespace llmcf::llm
