// A model directory for tests: the toy model with a tokenizer of bytes.
#pragma once

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "llm/adapter.h"
#include "llm/model_directory.h"
#include "llm/toy_model.h"

namespace llmcf::llm::testing {

inline void write_toy_directory(const std::filesystem::path& directory, uint64_t seed = 1) {
  save_model(*toy_model(seed), {}, directory);
  nlohmann::json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte)
    vocab[fmt::format("<0x{:02X}>", byte)] = 3 + byte;
  const nlohmann::json json = {
      {"added_tokens", {{{"id", 1}, {"content", "<s>"}}, {{"id", 2}, {"content", "</s>"}}}},
      {"normalizer", nullptr},
      {"pre_tokenizer", nullptr},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"byte_fallback", true},
        {"vocab", vocab},
        {"merges", nlohmann::json::array()}}}};
  write_file(directory / "tokenizer.json", json.dump());
}

}  // namespace llmcf::llm::testing
