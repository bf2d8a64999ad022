// Pre-tokenizers: a text in, the pieces that are tokenized one by one out.
#include <functional>
#include <optional>

#include <fmt/format.h>
#include <unicode/uchar.h>

#include "core/error.h"
#include "text/byte_level.h"
#include "text/regex.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace llmcf::text {

namespace {

using Json = nlohmann::json;

bool is_space(char32_t c) {
  return u_isUWhiteSpace(static_cast<UChar32>(c));
}

// BERT's notion: ASCII symbols count as punctuation.
bool is_punctuation(char32_t c) {
  if (c < 0x80)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_P_MASK) != 0;
}

// What happens to a delimiter between two pieces.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior behavior_of(const std::string& name) {
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  if (name == "Contiguous") return Behavior::kContiguous;
  throw Error(fmt::format("pre_tokenizer: behavior '{}' is not supported", name));
}

struct Span {
  size_t begin = 0;
  size_t end = 0;
  bool delimiter = false;
};

// Delimiters and what lies between them, in order, nothing empty.
std::vector<Span> spans_of(std::string_view text, const std::vector<Match>& delimiters) {
  std::vector<Span> spans;
  size_t done = 0;
  for (const Match& match : delimiters) {
    if (match.begin > done) spans.push_back({done, match.begin, false});
    spans.push_back({match.begin, match.end, true});
    done = match.end;
  }
  if (done < text.size()) spans.push_back({done, text.size(), false});
  return spans;
}

void cut(std::string_view text, const std::vector<Span>& spans, Behavior behavior,
         std::vector<std::string>& out) {
  bool glue = false;      // the next span continues the last piece
  bool previous = false;  // the span before was a delimiter
  for (const Span& span : spans) {
    const std::string_view piece = text.substr(span.begin, span.end - span.begin);
    const bool had = previous;
    previous = span.delimiter;
    if (span.delimiter && behavior == Behavior::kRemoved) continue;
    const bool joins =
        (glue && !span.delimiter) || (behavior == Behavior::kContiguous && span.delimiter && had) ||
        (behavior == Behavior::kMergedWithPrevious && span.delimiter && span.begin > 0 && !had);
    glue = behavior == Behavior::kMergedWithNext && span.delimiter;
    if (joins && !out.empty()) {
      out.back() += piece;
    } else {
      out.emplace_back(piece);
    }
  }
}

// Characters for which `test` holds as matches, each on its own or in runs.
std::vector<Match> matches_of(std::string_view text, const std::function<bool(char32_t)>& test,
                              bool runs) {
  std::vector<Match> matches;
  size_t at = 0;
  std::string bytes;
  for (const char32_t character : decode(text)) {
    bytes.clear();
    append_utf8(character, bytes);
    const size_t end = at + bytes.size();
    if (test(character)) {
      if (runs && !matches.empty() && matches.back().end == at) {
        matches.back().end = end;
      } else {
        matches.push_back({at, end});
      }
    }
    at = end;
  }
  return matches;
}

class ByCharacter final : public PreTokenizer {
 public:
  ByCharacter(std::function<bool(char32_t)> test, bool runs, Behavior behavior)
      : test_(std::move(test)), runs_(runs), behavior_(behavior) {}
  void split(std::string_view piece, bool, std::vector<std::string>& out) const override {
    std::vector<std::string> pieces;
    cut(piece, spans_of(piece, matches_of(piece, test_, runs_)), behavior_, pieces);
    out.insert(out.end(), pieces.begin(), pieces.end());
  }

 private:
  std::function<bool(char32_t)> test_;
  bool runs_;
  Behavior behavior_;
};

class ByPattern final : public PreTokenizer {
 public:
  ByPattern(const Json& pattern, Behavior behavior, bool invert)
      : pattern_(pattern), behavior_(behavior), invert_(invert) {}
  void split(std::string_view piece, bool, std::vector<std::string>& out) const override {
    std::vector<Span> spans = spans_of(piece, pattern_.find_all(piece));
    if (invert_)
      for (Span& span : spans)
        span.delimiter = !span.delimiter;
    std::vector<std::string> pieces;
    cut(piece, spans, behavior_, pieces);
    out.insert(out.end(), pieces.begin(), pieces.end());
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

// White space becomes a visible mark, as in SentencePiece.
class Metaspace final : public PreTokenizer {
 public:
  explicit Metaspace(const Json& part)
      : mark_(part.value("replacement", std::string("\xE2\x96\x81"))),
        split_(part.value("split", true)) {
    const std::string scheme = part.value(
        "prepend_scheme", std::string(part.value("add_prefix_space", true) ? "always" : "never"));
    if (scheme != "always" && scheme != "first" && scheme != "never")
      throw Error(
          fmt::format("pre_tokenizer Metaspace: prepend_scheme '{}' is not supported", scheme));
    always_ = scheme == "always";
    first_ = scheme != "never";
  }

  void split(std::string_view piece, bool first, std::vector<std::string>& out) const override {
    std::string text;
    for (const char letter : piece)
      letter == ' ' ? text.append(mark_) : text.append(1, letter);
    if ((always_ || (first_ && first)) && !text.starts_with(mark_)) text.insert(0, mark_);
    if (!split_) return out.push_back(std::move(text));
    size_t begin = 0;
    while (begin < text.size()) {
      const size_t next = std::min(text.find(mark_, begin + 1), text.size());
      out.push_back(text.substr(begin, next - begin));
      begin = next;
    }
  }

 private:
  std::string mark_;
  bool split_;
  bool always_ = false;
  bool first_ = false;
};

// Words as GPT-2 cuts them, their bytes as printable characters.
class ByteLevel final : public PreTokenizer {
 public:
  explicit ByteLevel(const Json& part) : prefix_(part.value("add_prefix_space", true)) {
    if (part.value("use_regex", true)) words_.emplace(Json{{"Regex", kWords}});
  }
  void split(std::string_view piece, bool first, std::vector<std::string>& out) const override {
    std::string text(piece);
    if (prefix_ && first && !text.starts_with(' ')) text.insert(text.begin(), ' ');
    if (!words_) return out.push_back(to_printable(text));
    for (const Span& span : spans_of(text, words_->find_all(text)))
      out.push_back(to_printable(std::string_view(text).substr(span.begin, span.end - span.begin)));
  }

 private:
  // White space as Unicode has it: ICU's \s lacks some control characters.
  static constexpr const char* kWords =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+)"
      R"(|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+)";
  bool prefix_;
  std::optional<Pattern> words_;
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<const PreTokenizer>> steps)
      : steps_(std::move(steps)) {}
  void split(std::string_view piece, bool first, std::vector<std::string>& out) const override {
    std::vector<std::string> pieces = {std::string(piece)};
    for (const auto& step : steps_) {
      std::vector<std::string> next;
      for (size_t at = 0; at < pieces.size(); ++at)
        step->split(pieces[at], first && at == 0, next);
      pieces = std::move(next);
    }
    out.insert(out.end(), pieces.begin(), pieces.end());
  }

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> steps_;
};

std::unique_ptr<const PreTokenizer> white_space() {
  return std::make_unique<ByCharacter>(is_space, true, Behavior::kRemoved);
}

std::unique_ptr<const PreTokenizer> punctuation(Behavior behavior) {
  return std::make_unique<ByCharacter>(is_punctuation, false, behavior);
}

std::unique_ptr<const PreTokenizer> make_sequence(const Json& part) {
  std::vector<std::unique_ptr<const PreTokenizer>> steps;
  for (const Json& step : part.at("pretokenizers"))
    steps.push_back(make_pre_tokenizer(step));
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<const PreTokenizer> make_bert() {
  std::vector<std::unique_ptr<const PreTokenizer>> steps;
  steps.push_back(white_space());
  steps.push_back(punctuation(Behavior::kIsolated));
  return std::make_unique<Sequence>(std::move(steps));
}

}  // namespace

std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& description) {
  if (description.is_null()) return nullptr;
  const auto type = description.at("type").get<std::string>();
  if (type == "Sequence") return make_sequence(description);
  if (type == "BertPreTokenizer") return make_bert();
  if (type == "WhitespaceSplit") return white_space();
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(description);
  if (type == "Metaspace") return std::make_unique<Metaspace>(description);
  if (type == "Whitespace")
    return std::make_unique<ByPattern>(Json{{"Regex", R"(\w+|[^\w\s]+)"}}, Behavior::kRemoved,
                                       true);
  if (type == "Punctuation")
    return punctuation(behavior_of(description.value("behavior", std::string("Isolated"))));
  if (type == "Digits") {
    const auto digit = [](char32_t c) {
      return (U_GET_GC_MASK(static_cast<UChar32>(c)) & U_GC_N_MASK) != 0;
    };
    return std::make_unique<ByCharacter>(digit, !description.value("individual_digits", false),
                                         Behavior::kIsolated);
  }
  if (type == "Split")
    return std::make_unique<ByPattern>(description.at("pattern"),
                                       behavior_of(description.at("behavior").get<std::string>()),
                                       description.value("invert", false));
  throw Error(fmt::format(
      "pre_tokenizer '{}' is not supported; known: BertPreTokenizer, ByteLevel, Digits, "
      "Metaspace, Punctuation, Sequence, Split, Whitespace, WhitespaceSplit",
      type));
}

}  // namespace llmcf::text
