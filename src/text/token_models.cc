// Token models: a piece in, ids out.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"
#include "text/bpe.h"
#include "text/tokenizer_parts.h"

namespace llmcf::text {

namespace {

using Json = nlohmann::json;

// The most probable segmentation under independent pieces (Kudo 2018), by Viterbi's algorithm.
class Unigram final : public TokenModel {
 public:
  explicit Unigram(const Json& part) {
    if (part.value("byte_fallback", false))
      throw Error("model Unigram with byte_fallback is not supported");
    double least = std::numeric_limits<double>::infinity();
    for (const Json& entry : part.at("vocab")) {
      tokens.push_back(entry.at(0).get<std::string>());
      scores_.push_back(entry.at(1).get<double>());
      least = std::min(least, scores_.back());
      const auto id = static_cast<int32_t>(tokens.size()) - 1;
      const bool added = vocabulary.emplace(tokens.back(), id).second;
      if (added && !tokens.back().empty()) sorted_.emplace_back(tokens.back(), id);
    }
    std::sort(sorted_.begin(), sorted_.end());
    if (part.contains("unk_id") && !part["unk_id"].is_null()) unknown = part["unk_id"];
    if (unknown >= static_cast<int32_t>(tokens.size()))
      throw Error(fmt::format("model Unigram: unk_id {} is outside the vocabulary", unknown));
    constexpr double kUnknownPenalty = 10.0;
    unknown_score_ = least - kUnknownPenalty;
  }

  void tokenize(std::string_view piece, std::vector<int32_t>& ids) const override {
    const std::vector<Node> best = viterbi(piece);
    std::vector<int32_t> reversed;
    for (size_t end = piece.size(); end > 0; end = best[end].begin) {
      const int32_t id = best[end].id;
      // Neighbouring unknown characters are one unknown token.
      if (id == unknown && !reversed.empty() && reversed.back() == unknown) continue;
      reversed.push_back(id);
    }
    for (auto id = reversed.rbegin(); id != reversed.rend(); ++id) {
      if (*id < 0) throw Error("model Unigram has no unk_id, but the text needs one");
      ids.push_back(*id);
    }
  }

 private:
  // The best way to end a token at a byte.
  struct Node {
    double score = -std::numeric_limits<double>::infinity();
    size_t begin = 0;
    int32_t id = -1;
  };

  std::vector<Node> viterbi(std::string_view piece) const {
    std::vector<Node> best(piece.size() + 1);
    best[0].score = 0.0;
    for (size_t begin = 0; begin < piece.size();) {
      const size_t single = std::min(begin + character_bytes(piece[begin]), piece.size());
      const auto offer = [&](size_t end, double score, int32_t id) {
        const double total = best[begin].score + score;
        if (total > best[end].score) best[end] = {total, begin, id};
      };
      bool found_single = false;
      each_prefix(piece.substr(begin), [&](size_t size, int32_t id) {
        offer(begin + size, scores_[static_cast<size_t>(id)], id);
        found_single = found_single || begin + size == single;
      });
      if (!found_single) offer(single, unknown_score_, unknown);
      begin = single;
    }
    return best;
  }

  // Calls take(size, id) for every token that `text` begins with, shortest first: the range of
  // sorted tokens that share the prefix shrinks byte by byte.
  template <typename Take>
  void each_prefix(std::string_view text, const Take& take) const {
    auto first = sorted_.begin();
    auto last = sorted_.end();
    for (size_t at = 0; at < text.size(); ++at) {
      const auto byte_of = [at](const Token& token) {
        return static_cast<unsigned char>(token.first[at]);
      };
      const auto byte = static_cast<unsigned char>(text[at]);
      first = std::partition_point(first, last, [&](const Token& t) { return byte_of(t) < byte; });
      last = std::partition_point(first, last, [&](const Token& t) { return byte_of(t) <= byte; });
      if (first == last) return;
      if (first->first.size() == at + 1) {
        take(at + 1, first->second);
        if (++first == last) return;
      }
    }
  }

  using Token = std::pair<std::string, int32_t>;
  std::vector<Token> sorted_;  // distinct, none empty
  std::vector<double> scores_;
  double unknown_score_ = 0.0;
};

// Greedy, longest match first (Wu et al. 2016, as BERT uses it).
class WordPiece final : public TokenModel {
 public:
  explicit WordPiece(const Json& part)
      : prefix_(part.value("continuing_subword_prefix", std::string("##"))),
        longest_word_(part.value("max_input_chars_per_word", 100)) {
    for (const auto& [token, id] : part.at("vocab").items()) {
      const auto number = id.get<int32_t>();
      if (number < 0 || number > (1 << 28))
        throw Error(fmt::format("model WordPiece: token '{}' has id {}", token, number));
      if (static_cast<size_t>(number) >= tokens.size())
        tokens.resize(static_cast<size_t>(number) + 1);
      tokens[static_cast<size_t>(number)] = token;
      vocabulary.emplace(token, number);
    }
    const std::string name = part.value("unk_token", std::string("[UNK]"));
    const auto found = vocabulary.find(name);
    if (found == vocabulary.end())
      throw Error(fmt::format("model WordPiece: unk_token '{}' is not in the vocabulary", name));
    unknown = found->second;
  }

  void tokenize(std::string_view piece, std::vector<int32_t>& ids) const override {
    const size_t start = ids.size();
    int64_t characters = 0;
    for (size_t at = 0; at < piece.size(); at += character_bytes(piece[at]))
      ++characters;
    std::string candidate;
    for (size_t begin = 0; begin < piece.size();) {
      size_t end = piece.size();
      int32_t id = -1;
      for (; end > begin; --end) {
        if (end < piece.size() && (static_cast<unsigned char>(piece[end]) & 0xC0U) == 0x80U)
          continue;
        candidate = begin == 0 ? "" : prefix_;
        candidate += piece.substr(begin, end - begin);
        if (const auto found = vocabulary.find(candidate); found != vocabulary.end()) {
          id = found->second;
          break;
        }
      }
      if (id < 0 || characters > longest_word_) {
        ids.resize(start);
        ids.push_back(unknown);
        return;
      }
      ids.push_back(id);
      begin = end;
    }
  }

 private:
  std::string prefix_;
  int64_t longest_word_;
};

}  // namespace

std::unique_ptr<const TokenModel> make_token_model(const Json& description) {
  const auto type = description.at("type").get<std::string>();
  if (type == "Unigram") return std::make_unique<Unigram>(description);
  if (type == "WordPiece") return std::make_unique<WordPiece>(description);
  if (type == "BPE") return std::make_unique<Bpe>(description);
  throw Error(fmt::format("model '{}' is not supported; known: BPE, Unigram, WordPiece", type));
}

}  // namespace llmcf::text
