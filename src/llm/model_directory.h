// Model directories as wholes: written, joined with an adapter, or between two of them. No libtorch
// in here.
//
// Invariant: a directory that is written is whole or absent, and never takes another one's place.
#pragma once

#include <filesystem>
#include <functional>

namespace llmcf::llm {

class LanguageModel;

// Lets `fill` write a fresh directory beside `directory`, then gives it that name. Throws Error if
// it is there already.
void write_directory(const std::filesystem::path& directory,
                     const std::function<void(const std::filesystem::path& fresh)>& fill);

// config.json, weights and what `like` (may be empty) holds beside them: tokenizer, templates.
void save_model(const LanguageModel& model, const std::filesystem::path& like,
                const std::filesystem::path& directory);

// Weights a + alpha (b - a) of two directories of one architecture, in fp32, with b's other files:
// Wise-FT(alpha) with `a` the model before tuning and `b` after (Wortsman et al., CVPR 2022).
void interpolate(const std::filesystem::path& a, const std::filesystem::path& b, double alpha,
                 const std::filesystem::path& out);

// `model` with `adapter` (PEFT's layout) added to its weights, in fp32.
void merge(const std::filesystem::path& model, const std::filesystem::path& adapter,
           const std::filesystem::path& out);

}  // namespace llmcf::llm
