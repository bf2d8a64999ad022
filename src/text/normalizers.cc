// Normalisers: text in, text out.
#include <fmt/format.h>
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include "core/error.h"
#include "text/regex.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

namespace llmcf::text {

namespace {

using Json = nlohmann::json;

bool is_ascii(std::string_view text) {
  for (const char letter : text)
    if (static_cast<unsigned char>(letter) >= 0x80) return false;
  return true;
}

uint32_t category_of(char32_t character) {
  return U_GET_GC_MASK(static_cast<UChar32>(character));
}

void compose(const icu::Normalizer2& form, std::string& text) {
  UErrorCode status = U_ZERO_ERROR;
  std::string result;
  icu::StringByteSink<std::string> sink(&result);
  form.normalizeUTF8(0, text, sink, nullptr, status);
  if (U_FAILURE(status)) throw Error(fmt::format("ICU: {}", u_errorName(status)));
  text = std::move(result);
}

const icu::Normalizer2& normal_form(const std::string& name) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* form = name == "NFC"    ? icu::Normalizer2::getNFCInstance(status)
                                 : name == "NFD"  ? icu::Normalizer2::getNFDInstance(status)
                                 : name == "NFKC" ? icu::Normalizer2::getNFKCInstance(status)
                                                  : icu::Normalizer2::getNFKDInstance(status);
  if (U_FAILURE(status)) throw Error(fmt::format("ICU: {}", u_errorName(status)));
  return *form;
}

void lowercase(std::string& text) {
  if (is_ascii(text)) {
    for (char& letter : text)
      if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + 32);
    return;
  }
  std::string result;
  for (const char32_t character : decode(text)) {
    append_utf8(static_cast<char32_t>(u_tolower(static_cast<UChar32>(character))), result);
    if (character == 0x130) append_utf8(0x307, result);  // its lower case is two characters
  }
  text = std::move(result);
}

// Non-spacing marks go; the reference decomposes only where it says so.
void strip_marks(std::string& text) {
  if (is_ascii(text)) return;
  std::string result;
  for (const char32_t character : decode(text))
    if ((category_of(character) & U_GC_MN_MASK) == 0) append_utf8(character, result);
  text = std::move(result);
}

class NormalForm final : public Normalizer {
 public:
  explicit NormalForm(const std::string& name) : form_(normal_form(name)) {}
  void apply(std::string& text) const override {
    if (!is_ascii(text)) compose(form_, text);
  }

 private:
  const icu::Normalizer2& form_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(std::string& text) const override { lowercase(text); }
};

class StripAccents final : public Normalizer {
 public:
  void apply(std::string& text) const override { strip_marks(text); }
};

class Bert final : public Normalizer {
 public:
  explicit Bert(const Json& part)
      : clean_(part.value("clean_text", true)),
        chinese_(part.value("handle_chinese_chars", true)),
        lowercase_(part.value("lowercase", true)),
        strip_(part.contains("strip_accents") && part["strip_accents"].is_boolean()
                   ? part["strip_accents"].get<bool>()
                   : lowercase_) {}

  void apply(std::string& text) const override {
    if (clean_ || chinese_) clean(text);
    if (strip_ && !is_ascii(text)) {
      compose(normal_form("NFD"), text);
      strip_marks(text);
    }
    if (lowercase_) lowercase(text);
  }

 private:
  void clean(std::string& text) const {
    std::string result;
    for (const char32_t character : decode(text)) {
      if (clean_ && is_control(character)) continue;
      if (clean_ && is_space(character)) {
        result += ' ';
      } else if (chinese_ && is_chinese(character)) {
        result += ' ';
        append_utf8(character, result);
        result += ' ';
      } else {
        append_utf8(character, result);
      }
    }
    text = std::move(result);
  }
  static bool is_space(char32_t c) {
    return c == '\t' || c == '\n' || c == '\r' || u_isUWhiteSpace(static_cast<UChar32>(c));
  }
  static bool is_control(char32_t c) {
    if (c == '\t' || c == '\n' || c == '\r') return false;
    return c == 0 || c == 0xFFFD || (category_of(c) & U_GC_C_MASK) != 0;
  }
  // The blocks of BERT's own list, not the script property.
  static bool is_chinese(char32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
  }

  bool clean_;
  bool chinese_;
  bool lowercase_;
  bool strip_;
};

class Replace final : public Normalizer {
 public:
  explicit Replace(const Json& part)
      : pattern_(part.at("pattern")), content_(part.at("content").get<std::string>()) {}
  void apply(std::string& text) const override {
    const std::vector<Match> matches = pattern_.find_all(text);
    if (matches.empty()) return;
    std::string result;
    size_t done = 0;
    for (const Match& match : matches) {
      result.append(text, done, match.begin - done);
      result += content_;
      done = match.end;
    }
    text = result.append(text, done);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(const Json& part) : text_(part.at("prepend").get<std::string>()) {}
  void apply(std::string& text) const override {
    if (!text.empty()) text.insert(0, text_);
  }

 private:
  std::string text_;
};

class Strip final : public Normalizer {
 public:
  explicit Strip(const Json& part)
      : left_(part.value("strip_left", true)), right_(part.value("strip_right", true)) {}
  void apply(std::string& text) const override {
    const std::u32string characters = decode(text);
    size_t begin = 0;
    size_t end = characters.size();
    while (left_ && begin < end && is_space(characters[begin]))
      ++begin;
    while (right_ && end > begin && is_space(characters[end - 1]))
      --end;
    text = encode_utf8(std::u32string_view(characters).substr(begin, end - begin));
  }

 private:
  static bool is_space(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)); }
  bool left_;
  bool right_;
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(const Json& part) {
    for (const Json& step : part.at("normalizers"))
      steps_.push_back(make_normalizer(step));
  }
  void apply(std::string& text) const override {
    for (const auto& step : steps_)
      step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> steps_;
};

}  // namespace

std::unique_ptr<const Normalizer> make_normalizer(const Json& description) {
  if (description.is_null()) return nullptr;
  const auto type = description.at("type").get<std::string>();
  if (type == "Sequence") return std::make_unique<Sequence>(description);
  if (type == "BertNormalizer") return std::make_unique<Bert>(description);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Strip") return std::make_unique<Strip>(description);
  if (type == "Replace") return std::make_unique<Replace>(description);
  if (type == "Prepend") return std::make_unique<Prepend>(description);
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD")
    return std::make_unique<NormalForm>(type);
  throw Error(fmt::format(
      "normalizer '{}' is not supported; known: BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, "
      "Prepend, Replace, Sequence, Strip, StripAccents",
      type));
}

}  // namespace llmcf::text
