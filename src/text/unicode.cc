#include "text/unicode.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

#include "core/error.h"
#include "core/strings.h"

namespace llmcf::text {

namespace {

constexpr char32_t kReplacement = 0xFFFD;

// Calls take(character) for each character, and take(on_invalid(byte)) for each stray byte.
template <typename Take, typename OnInvalid>
void each_character(std::string_view text, const Take& take, const OnInvalid& on_invalid) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t at = 0; at < size;) {
    const int64_t start = at;
    UChar32 character = 0;
    U8_NEXT(bytes, at, size, character);
    if (character >= 0) {
      take(static_cast<char32_t>(character));
    } else {
      for (int64_t stray = start; stray < at; ++stray)
        take(on_invalid(bytes[stray]));
    }
  }
}

const icu::Normalizer2& case_folder() {
  static const icu::Normalizer2* const folder = [] {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* found = icu::Normalizer2::getNFKCCasefoldInstance(status);
    if (U_FAILURE(status)) throw Error(std::string("ICU: ") + u_errorName(status));
    return found;
  }();
  return *folder;
}

bool fold_ascii(std::string_view text, std::u32string& folded) {
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte >= 0x80) return false;
    folded.push_back(byte >= 'A' && byte <= 'Z' ? byte + 32U : byte);
  }
  return true;
}

bool is_unspaced(UScriptCode script) {
  switch (script) {
    case USCRIPT_HAN:
    case USCRIPT_HIRAGANA:
    case USCRIPT_KATAKANA:
    case USCRIPT_BOPOMOFO:
    case USCRIPT_THAI:
    case USCRIPT_LAO:
    case USCRIPT_KHMER:
    case USCRIPT_MYANMAR:
      return true;
    default:
      return false;
  }
}

}  // namespace

void fold(std::string_view text, std::u32string& folded) {
  folded.clear();
  if (fold_ascii(text, folded)) return;
  folded.clear();
  icu::UnicodeString characters(static_cast<int32_t>(text.size()), UChar32{0}, 0);
  each_character(
      text, [&](char32_t character) { characters.append(static_cast<UChar32>(character)); },
      [](uint8_t byte) { return static_cast<char32_t>(byte); });
  UErrorCode status = U_ZERO_ERROR;
  const icu::UnicodeString result = case_folder().normalize(characters, status);
  if (U_FAILURE(status)) throw Error(std::string("ICU: ") + u_errorName(status));
  for (int32_t at = 0; at < result.length(); at = result.moveIndex32(at, 1))
    folded.push_back(static_cast<char32_t>(result.char32At(at)));
}

std::u32string decode(std::string_view text) {
  std::u32string characters;
  characters.reserve(text.size());
  each_character(
      text, [&](char32_t character) { characters.push_back(character); },
      [](uint8_t) { return kReplacement; });
  return characters;
}

void append_utf8(char32_t character, std::string& text) {
  char bytes[4];
  int32_t size = 0;
  U8_APPEND_UNSAFE(bytes, size, character);
  text.append(bytes, static_cast<size_t>(size));
}

std::string encode_utf8(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (const char32_t character : text)
    append_utf8(character, bytes);
  return bytes;
}

size_t valid_character(std::string_view text, size_t at) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  auto next = static_cast<int64_t>(at);
  UChar32 character = 0;
  U8_NEXT(bytes, next, static_cast<int64_t>(text.size()), character);
  return character < 0 ? 0 : static_cast<size_t>(next) - at;
}

std::string replace_invalid(std::string_view text) {
  if (!first_invalid_utf8(text)) return std::string(text);
  return encode_utf8(decode(text));
}

CharacterClass classify(char32_t character) {
  if (character < 0x80) {
    const bool word = (character >= 'a' && character <= 'z') ||
                      (character >= '0' && character <= '9') ||
                      (character >= 'A' && character <= 'Z');
    return word ? CharacterClass::kWord : CharacterClass::kSeparator;
  }
  const auto code = static_cast<UChar32>(character);
  const uint32_t category = U_GET_GC_MASK(code);
  if ((category & U_GC_SO_MASK) != 0) return CharacterClass::kSymbol;
  if ((category & (U_GC_L_MASK | U_GC_N_MASK | U_GC_M_MASK)) == 0)
    return CharacterClass::kSeparator;
  if ((category & (U_GC_MN_MASK | U_GC_ME_MASK)) != 0 && code >= 0xFE00 && code <= 0xFE0F)
    return CharacterClass::kSeparator;  // variation selectors: the same symbol, drawn otherwise
  UErrorCode status = U_ZERO_ERROR;
  return is_unspaced(uscript_getScript(code, &status)) ? CharacterClass::kUnspaced
                                                       : CharacterClass::kWord;
}

}  // namespace llmcf::text
