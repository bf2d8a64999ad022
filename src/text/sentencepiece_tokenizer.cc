// SentencePiece models of kind BPE as language tokenizers: pairs merge into the piece with the best
// score, what the vocabulary lacks becomes bytes.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/error.h"
#include "text/language_tokenizer.h"
#include "text/pair_merging.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace llmcf::text {

namespace {

using Kind = SentencePieceModel::Kind;

constexpr std::string_view kSpace = "\xE2\x96\x81";  // how pieces write a space

class SentencePiece final : public LanguageTokenizer {
 public:
  explicit SentencePiece(const std::filesystem::path& file)
      : model_(SentencePieceModel::load(file)) {
    byte_ids_.fill(-1);
    for (size_t i = 0; i < model_.pieces.size(); ++i) {
      const auto& piece = model_.pieces[i];
      const auto id = static_cast<int32_t>(i);
      std::string bytes;
      if (piece.kind == Kind::kByte) {
        if (piece.text.size() != 6)
          throw InputError(file.string(), 0, fmt::format("byte piece '{}'", piece.text));
        const auto value = std::stoul(piece.text.substr(3, 2), nullptr, 16);
        byte_ids_[value] = id;
        bytes.push_back(static_cast<char>(value));
      } else if (piece.kind == Kind::kControl) {
        special_.emplace(piece.text, id);
      } else if (piece.kind == Kind::kUnknown) {
        special_.emplace(piece.text, id);
        unknown_ = id;
        bytes = "\xEF\xBF\xBD";
      } else {
        if (piece.kind == Kind::kNormal) mergeable_.emplace(piece.text, id);
        if (piece.kind == Kind::kUserDefined) user_defined_.emplace_back(piece.text, id);
        bytes = piece.text;
        for (size_t at = 0; (at = bytes.find(kSpace, at)) != std::string::npos; ++at)
          bytes.replace(at, kSpace.size(), 1, ' ');
      }
      bytes_.push_back(std::move(bytes));
    }
    if (unknown_ < 0) throw InputError(file.string(), 0, "has no unknown piece");
    std::sort(user_defined_.begin(), user_defined_.end(), [](const auto& a, const auto& b) {
      return a.first.size() > b.first.size();  // the longest match wins
    });
  }

  std::vector<int32_t> encode(std::string_view text) const override {
    const std::string normal = with_marks(text);
    std::vector<int32_t> ids;
    Run run(*this);
    for (size_t at = 0; at < normal.size();) {
      const auto [defined, id] = user_defined_at(normal, at);
      const size_t size = defined > 0 ? 0 : valid_character(normal, at);
      if (size > 0) {
        run.add(std::string_view(normal).substr(at, size));
        at += size;
        continue;
      }
      run.flush(ids);
      if (defined > 0) {
        ids.push_back(id);
        at += defined;
      } else {
        add_byte(normal[at++], ids);
      }
    }
    run.flush(ids);
    return ids;
  }

  std::string bytes(int32_t id) const override {
    if (id < 0 || id >= size())
      throw Error(fmt::format("token {} is outside the vocabulary of {}", id, size()));
    return bytes_[static_cast<size_t>(id)];
  }

  std::optional<int32_t> special(std::string_view name) const override {
    const auto found = special_.find(name);
    if (found == special_.end()) return std::nullopt;
    return found->second;
  }

  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  bool leads_with_space() const override { return model_.dummy_prefix; }

 private:
  // Characters that may merge with each other. One that the vocabulary lacks gets a number behind
  // it: together with a neighbour it may still be a piece.
  class Run {
   public:
    explicit Run(const SentencePiece& owner) : owner_(owner) {}

    void add(std::string_view character) {
      const auto found = owner_.mergeable_.find(character);
      if (found != owner_.mergeable_.end()) {
        symbols_.push_back(found->second);
      } else {
        symbols_.push_back(static_cast<int32_t>(owner_.size() + static_cast<int64_t>(own_.size())));
        own_.emplace_back(character);
      }
    }

    void flush(std::vector<int32_t>& ids) {
      std::string both;
      merge_pairs(symbols_, [&](int32_t left, int32_t right) -> std::optional<MergedPair> {
        both = text(left);
        both += text(right);
        const auto found = owner_.mergeable_.find(both);
        if (found == owner_.mergeable_.end()) return std::nullopt;
        return MergedPair{-owner_.model_.pieces[static_cast<size_t>(found->second)].score,
                          found->second};
      });
      for (const int32_t symbol : symbols_) {
        if (symbol < owner_.size()) {
          ids.push_back(symbol);
        } else {
          for (const char byte : text(symbol))
            owner_.add_byte(byte, ids);
        }
      }
      symbols_.clear();
      own_.clear();
    }

   private:
    const std::string& text(int32_t symbol) const {
      const auto at = static_cast<size_t>(symbol);
      const size_t known = owner_.model_.pieces.size();
      return at < known ? owner_.model_.pieces[at].text : own_[at - known];
    }

    const SentencePiece& owner_;
    std::vector<int32_t> symbols_;
    std::vector<std::string> own_;
  };

  std::string with_marks(std::string_view text) const {
    std::string normal;
    const auto space = [&] {
      if (!model_.removes_spaces || (!normal.empty() && !normal.ends_with(kSpace)))
        normal += kSpace;
    };
    if (model_.dummy_prefix && !text.empty()) normal += kSpace;
    for (const char byte : text)
      byte == ' ' ? space() : normal.push_back(byte);
    while (model_.removes_spaces && normal.ends_with(kSpace))
      normal.resize(normal.size() - kSpace.size());
    return normal;
  }

  // Without byte tokens a byte is unknown.
  void add_byte(char byte, std::vector<int32_t>& ids) const {
    const int32_t id = byte_ids_[static_cast<unsigned char>(byte)];
    ids.push_back(id < 0 ? unknown_ : id);
  }

  std::pair<size_t, int32_t> user_defined_at(const std::string& text, size_t at) const {
    for (const auto& [symbol, id] : user_defined_)
      if (text.compare(at, symbol.size(), symbol) == 0) return {symbol.size(), id};
    return {0, -1};
  }

  SentencePieceModel model_;
  Vocabulary mergeable_, special_;
  std::vector<std::pair<std::string, int32_t>> user_defined_;  // longest first
  std::vector<std::string> bytes_;                             // by id
  std::array<int32_t, 256> byte_ids_;                          // -1 = no byte tokens
  int32_t unknown_ = -1;
};

}  // namespace

std::unique_ptr<LanguageTokenizer> load_sentencepiece(const std::filesystem::path& file) {
  return std::make_unique<SentencePiece>(file);
}

}  // namespace llmcf::text
