// Byte-pair encoding as a token model of `tokenizer.json`.
//
// Supported: merges as texts or pairs, `byte_fallback`, `ignore_merges`, `fuse_unk`. Anything else
// is an Error that names it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer_parts.h"

namespace llmcf::text {

class Bpe final : public TokenModel {
 public:
  explicit Bpe(const nlohmann::json& part);
  void tokenize(std::string_view piece, std::vector<int32_t>& ids) const override;

 private:
  struct Merge {
    int32_t rank = 0;
    int32_t id = 0;  // of the merged token
  };
  int32_t id_of(const std::string& token, const char* what) const;
  void characters(std::string_view piece, std::vector<int32_t>& ids) const;

  std::unordered_map<uint64_t, Merge> merges_;  // by pair of ids
  std::vector<int32_t> byte_ids_;               // 256, or empty
  bool whole_pieces_ = false;                   // a piece that is a token stays whole
  bool fuses_unknown_ = false;
};

}  // namespace llmcf::text
