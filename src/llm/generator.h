// Texts from a language model: a queue of prompts, a fixed number of slots, every step one token
// for each running prompt. A prompt enters as soon as a slot is free (continuous batching); one
// with beam search when there is a slot for each beam.
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
#include "llm/beam_search.h"
#include "llm/generation.h"
#include "llm/language_model.h"
#include "text/language_tokenizer.h"

namespace llmcf::llm {

struct GeneratorOptions {
  int64_t slots = 16;
  int64_t capacity = 0;  // tokens of a slot, prompt included; 0 = the model's max_positions
};

class Generator {
 public:
  // Gets more of a text, or nothing new where a prompt enters or a token adds no text yet; false
  // cancels the generation.
  using OnText = std::function<bool(std::string_view piece)>;
  using OnDone = std::function<void(Generation)>;

  // Both must outlive this.
  Generator(const LanguageModel& model, const text::LanguageTokenizer& tokenizer,
            const GeneratorOptions& options);
  ~Generator();

  // Throws Error naming what does not fit. Thread-safe.
  void check(const GenerationRequest& request) const;
  // check(), then queues it. Callbacks are called from step().
  void submit(GenerationRequest request, OnDone on_done, OnText on_text = {});
  // Admits waiting prompts and makes one token for each running one. False if there is none.
  bool step();
  // Ends all that runs or waits as cancelled, whatever state an exception of step() left.
  void cancel_all();
  int64_t running() const;
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }
  int64_t capacity() const { return cache_.capacity(); }

  // All of them, in order.
  std::vector<Generation> run(std::vector<GenerationRequest> requests);

 private:
  struct Running;
  void admit();
  void begin_beams(Running& leader, std::span<float> logits);
  void take_beams(Running& leader, const std::vector<BeamSearch::Extension>& extensions);
  int32_t draw(Running& running, std::span<float> logits) const;
  void take(Running& running, int32_t id);
  void finish(size_t slot);

  const LanguageModel& model_;
  const text::LanguageTokenizer& tokenizer_;
  KvCache cache_;
  std::deque<std::unique_ptr<Running>> waiting_;
  std::vector<std::unique_ptr<Running>> running_;  // by slot, without gaps
};

}  // namespace llmcf::llm
