// The reasoner `local`: a language model in this process, from a directory in the Hugging Face
// layout.
//
//   reason:
//     kind: local
//     local: {model: path/to/model, adapter: "", device: auto, dtype: auto, chat: auto, slots: 16,
//             capacity: 0, temperature: 0.6, top_k: 50, top_p: 1, repetition_penalty: 1,
//             max_tokens: 256, beams: 1}
//
// With `beams` > 1 candidates are the best results of one beam search, `beams` of them at a time.
//
// Invariant: nothing is loaded before the first request; whose answers are there already is known
// from the model's files alone (llm::model_identity).
#pragma once

#include <memory>

#include "core/config.h"
#include "cot/reasoner.h"

namespace llmcf::pipeline {

// cot::make_reasoner, with `local` among the kinds. Throws InputError for an unknown kind or key.
std::unique_ptr<cot::Reasoner> make_reasoner(const Config& reason);

}  // namespace llmcf::pipeline
