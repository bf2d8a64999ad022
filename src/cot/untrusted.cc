// Neutralises catalogue text: drop what is invisible, compose, replace brackets, silence roles,
// cut.
#include "cot/untrusted.h"

#include <algorithm>
#include <array>

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>
#include <unicode/utf8.h>

#include "core/error.h"
#include "core/strings.h"

namespace llmcf::cot {

namespace {

// Words that chat formats put before a colon to say who speaks.
constexpr std::array<std::string_view, 11> kRoles = {
    "system", "user",  "assistant",   "human",        "ai",      "developer",
    "tool",   "model", "instruction", "instructions", "response"};

bool is_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         (static_cast<unsigned char>(c) & 0x80) != 0;
}

// Characters that are not meant to be seen: a space instead, or nothing for format characters.
std::string drop_invisible(std::string_view text) {
  std::string kept;
  kept.reserve(text.size());
  const auto size = static_cast<int32_t>(text.size());
  for (int32_t index = 0; index < size;) {
    const int32_t start = index;
    UChar32 point = 0;
    U8_NEXT(text.data(), index, size, point);
    if (point < 0) continue;  // not UTF-8
    switch (u_charType(point)) {
      case U_CONTROL_CHAR:
      case U_LINE_SEPARATOR:
      case U_PARAGRAPH_SEPARATOR:
      case U_SPACE_SEPARATOR:
        kept += ' ';
        break;
      case U_FORMAT_CHAR:
      case U_SURROGATE:
      case U_PRIVATE_USE_CHAR:
      case U_UNASSIGNED:
        break;
      default:
        kept.append(text, static_cast<size_t>(start), static_cast<size_t>(index - start));
    }
  }
  return kept;
}

// Compatibility composition: full-width brackets and letters become the plain ones.
std::string compose(const std::string& text) {
  UErrorCode status = U_ZERO_ERROR;
  const UNormalizer2* nfkc = unorm2_getNFKCInstance(&status);
  std::u16string wide(text.size() + 1, u'\0');
  int32_t length = 0;
  u_strFromUTF8(wide.data(), static_cast<int32_t>(wide.size()), &length, text.data(),
                static_cast<int32_t>(text.size()), &status);
  std::u16string composed(static_cast<size_t>(length) * 18 + 1, u'\0');  // NFKC grows 18 times
  const int32_t size = unorm2_normalize(nfkc, wide.data(), length, composed.data(),
                                        static_cast<int32_t>(composed.size()), &status);
  std::string result(static_cast<size_t>(size) * 3 + 1, '\0');
  int32_t bytes = 0;
  u_strToUTF8(result.data(), static_cast<int32_t>(result.size()), &bytes, composed.data(), size,
              &status);
  if (U_FAILURE(status)) throw Error(std::string("ICU: ") + u_errorName(status));
  result.resize(static_cast<size_t>(bytes));
  return result;
}

char plain_bracket(char c) {
  switch (c) {
    case '<':
    case '[':
    case '{':
      return '(';
    case '>':
    case ']':
    case '}':
      return ')';
    case '|':
      return '/';
    default:
      return c;
  }
}

// "System: x" -> "System - x".
std::string silence_roles(const std::string& text) {
  std::string result;
  result.reserve(text.size() + 8);
  size_t index = 0;
  while (index < text.size()) {
    if (!is_word_byte(text[index])) {
      result += text[index++];
      continue;
    }
    size_t end = index;
    while (end < text.size() && is_word_byte(text[end]))
      ++end;
    const std::string word = text.substr(index, end - index);
    result += word;
    index = end;
    while (end < text.size() && text[end] == ' ')
      ++end;
    const std::string lower = to_lower(word);
    const bool role = std::find(kRoles.begin(), kRoles.end(), lower) != kRoles.end();
    if (role && end < text.size() && text[end] == ':') {
      result += " -";
      index = end + 1;
    }
  }
  return result;
}

// One space between words; runs of marks that chat and Markdown formats use become one.
std::string shrink_runs(const std::string& text) {
  static constexpr std::string_view kMarks = " #`-=~*";
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    const bool repeats = !result.empty() && result.back() == c;
    if (repeats && kMarks.find(c) != std::string_view::npos) continue;
    result += c;
  }
  return std::string(trim(result));
}

std::string cut(const std::string& text, int64_t max_chars) {
  const auto size = static_cast<int32_t>(text.size());
  int32_t index = 0;
  int32_t end_of_cut = 0;  // where max_chars - 3 characters end
  for (int64_t count = 0; index < size; ++count) {
    if (count == max_chars - 3) end_of_cut = index;
    if (count == max_chars)
      return std::string(trim(text.substr(0, static_cast<size_t>(end_of_cut)))) + "...";
    U8_FWD_1(text.data(), index, size);
  }
  return text;
}

}  // namespace

std::string neutralise(std::string_view text, int64_t max_chars) {
  LLMCF_ASSERT(max_chars >= 8);
  // A cap before the work: nobody's title is that long.
  std::string result = drop_invisible(text.substr(0, static_cast<size_t>(max_chars) * 64));
  bool ascii = true;
  for (const char c : result)
    ascii = ascii && (static_cast<unsigned char>(c) & 0x80) == 0;
  if (!ascii) result = drop_invisible(compose(result));
  for (char& c : result)
    c = plain_bracket(c);
  return cut(shrink_runs(silence_roles(shrink_runs(result))), max_chars);
}

}  // namespace llmcf::cot
