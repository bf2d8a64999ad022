// A SentencePiece `tokenizer.model` as data. The library of that name cannot be linked: the one
// that is packaged carries protobuf symbols that clash with libtorch's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace llmcf::text {

struct SentencePieceModel {
  enum class Kind { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused, kByte };
  struct Piece {
    std::string text;
    float score = 0;
    Kind kind = Kind::kNormal;
  };
  std::vector<Piece> pieces;
  bool dummy_prefix = true;    // a space is put before a text
  bool removes_spaces = true;  // runs of spaces become one, those at the ends go

  // Throws InputError naming the file unless it is a model of kind BPE whose normaliser keeps
  // texts.
  static SentencePieceModel load(const std::filesystem::path& file);
};

}  // namespace llmcf::text
