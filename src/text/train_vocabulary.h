// A SentencePiece vocabulary of one's own, by SentencePiece's own trainer `spm_train` (Debian
// package `sentencepiece`), which runs as a program: its library and libtorch each bring a
// protobuf.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace llmcf::text {

// Writes a model of kind BPE with byte fallback, single digits, no normalisation and the specials
// <unk> 0, <s> 1, </s> 2, as LLaMA 2's: any bytes come back as they went in. `texts` may hold line
// breaks. The same texts give the same file. Throws Error if the program is missing or fails,
// with what it said.
void train_vocabulary(std::span<const std::string> texts, int64_t size,
                      const std::filesystem::path& model);

}  // namespace llmcf::text
