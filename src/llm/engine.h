// A language model that answers from any thread: one worker owns the model and steps a generator,
// so that whoever asks at the same time shares its batches. No libtorch in here.
//
// Thread safety: everything but the constructor and the destructor. The destructor cancels what
// runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "llm/chat_template.h"
#include "llm/generation.h"
#include "text/language_tokenizer.h"

namespace llmcf::llm {

struct EngineOptions {
  std::filesystem::path model;         // a directory in the Hugging Face layout
  std::filesystem::path adapter = {};  // PEFT's layout; empty = none
  std::string device = "auto";         // auto (CUDA if there is one), cpu, cuda, cuda:1, ...
  std::string dtype = "auto";  // auto (float32 on cpu, else bfloat16), float32, bfloat16, float16
  int64_t slots = 16;          // generations at once
  int64_t capacity = 0;        // tokens of a slot; 0 = the model's positions, at most 4096
  std::string chat = "auto";   // auto (by tokenizer_config.json and special tokens), or a name
};

// Changes whenever answers may, without loading anything: configuration and tokenizer by content,
// weights by size and content (of large files, evenly spaced parts), adapter, device, dtype, chat
// template. Throws Error if a directory cannot be read.
std::string model_identity(const EngineOptions& options);

class Engine {
 public:
  // Called from the worker: they must not wait. See Generator for what they get.
  using OnText = std::function<bool(std::string_view piece)>;
  using OnDone = std::function<void(Generation)>;

  // Throws InputError or Error naming what is wrong with the model or the options.
  explicit Engine(const EngineOptions& options);
  ~Engine();

  const text::LanguageTokenizer& tokenizer() const;
  const std::string& name() const;  // the directory's
  int64_t capacity() const;

  // A text to be continued as it is, behind the token that begins texts.
  std::vector<int32_t> raw_prompt(std::string_view text) const;
  // The prompt of a conversation; the last turn is the user's.
  std::vector<int32_t> prompt(const std::vector<Turn>& turns) const;

  // Throws Error at once if the request does not fit; the future never throws.
  std::future<Generation> generate(GenerationRequest request, OnText on_text = {});
  // The same, told by a callback.
  void submit(GenerationRequest request, OnDone on_done, OnText on_text = {});

  // Per continuation (none empty), the sum of the log probabilities of its tokens behind the
  // prompt. Throws Error if one does not fit.
  std::vector<double> log_likelihoods(const std::vector<int32_t>& prompt,
                                      const std::vector<std::vector<int32_t>>& continuations);

  // The mean of the last states of a text's tokens, scaled to unit length. [hidden width]
  std::vector<float> embed(std::string_view text);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmcf::llm
