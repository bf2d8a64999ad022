// Byte-pair encoding (Sennrich et al. 2016) as a token model: the pair of neighbours with the
// lowest rank is merged until none is left. A queue of candidate pairs makes it O(n log n), so that
// a piece may be megabytes long.
#include "text/bpe.h"

#include <fmt/format.h>

#include "core/error.h"
#include "text/pair_merging.h"

namespace llmcf::text {

namespace {

using Json = nlohmann::json;

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32U | static_cast<uint32_t>(right);
}

}  // namespace

Bpe::Bpe(const Json& part) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (part.contains(key) && !part[key].is_null() && !part[key].get<std::string>().empty())
      throw Error(fmt::format("model BPE with {} is not supported", key));
  if (part.contains("dropout") && !part["dropout"].is_null() && part["dropout"].get<double>() > 0)
    throw Error("model BPE with dropout is not supported");
  for (const auto& [token, id] : part.at("vocab").items()) {
    const auto number = id.get<int64_t>();
    if (number < 0 || number > (1 << 28))
      throw Error(fmt::format("model BPE: token '{}' has id {}", token, number));
    if (static_cast<size_t>(number) >= tokens.size())
      tokens.resize(static_cast<size_t>(number) + 1);
    tokens[static_cast<size_t>(number)] = token;
    vocabulary.emplace(token, static_cast<int32_t>(number));
  }
  whole_pieces_ = part.value("ignore_merges", false);
  fuses_unknown_ = part.value("fuse_unk", false);
  if (part.contains("unk_token") && part["unk_token"].is_string())
    unknown = id_of(part["unk_token"].get<std::string>(), "unk_token");
  if (part.value("byte_fallback", false)) {
    for (int byte = 0; byte < 256; ++byte)
      byte_ids_.push_back(id_of(fmt::format("<0x{:02X}>", byte), "byte_fallback"));
  }
  int32_t rank = 0;
  for (const Json& merge : part.at("merges")) {
    std::string left, right;
    if (merge.is_array()) {
      left = merge.at(0).get<std::string>();
      right = merge.at(1).get<std::string>();
    } else {
      const auto text = merge.get<std::string>();
      const size_t space = text.find(' ');
      if (space == std::string::npos)
        throw Error(fmt::format("model BPE: merge {} is '{}', expected two tokens", rank, text));
      left = text.substr(0, space);
      right = text.substr(space + 1);
    }
    const int32_t a = id_of(left, "a merge"), b = id_of(right, "a merge");
    merges_.emplace(pair_key(a, b), Merge{rank, id_of(left + right, "a merge")});
    ++rank;
  }
}

int32_t Bpe::id_of(const std::string& token, const char* what) const {
  const auto found = vocabulary.find(token);
  if (found == vocabulary.end())
    throw Error(
        fmt::format("model BPE: {} needs '{}', which is not in the vocabulary", what, token));
  return found->second;
}

// Characters as ids; what the vocabulary lacks becomes bytes, or is unknown.
void Bpe::characters(std::string_view piece, std::vector<int32_t>& ids) const {
  for (size_t at = 0; at < piece.size();) {
    const auto character = piece.substr(at, character_bytes(piece[at]));
    at += character.size();
    if (const auto found = vocabulary.find(character); found != vocabulary.end()) {
      ids.push_back(found->second);
    } else if (!byte_ids_.empty()) {
      for (const char byte : character)
        ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    } else if (unknown < 0) {
      throw Error(fmt::format("model BPE has no token for '{}' and no unk_token", character));
    } else if (!fuses_unknown_ || ids.empty() || ids.back() != unknown) {
      ids.push_back(unknown);
    }
  }
}

void Bpe::tokenize(std::string_view piece, std::vector<int32_t>& ids) const {
  if (whole_pieces_) {
    if (const auto found = vocabulary.find(piece); found != vocabulary.end())
      return ids.push_back(found->second);
  }
  std::vector<int32_t> letters;
  characters(piece, letters);
  merge_pairs(letters, [this](int32_t left, int32_t right) -> std::optional<MergedPair> {
    const auto found = merges_.find(pair_key(left, right));
    if (found == merges_.end()) return std::nullopt;
    return MergedPair{static_cast<double>(found->second.rank), found->second.id};
  });
  ids.insert(ids.end(), letters.begin(), letters.end());
}

}  // namespace llmcf::text
