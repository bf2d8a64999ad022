// Characters of texts that may be anything: every function takes any bytes.
#pragma once

#include <string>
#include <string_view>

namespace llmcf::text {

// Characters after compatibility composition and case folding (NFKC_Casefold). A byte that is not
// part of valid UTF-8 is read as the Latin-1 character of that number.
void fold(std::string_view text, std::u32string& folded);

// The characters; a byte that is not part of valid UTF-8 becomes U+FFFD.
std::u32string decode(std::string_view text);
std::string encode_utf8(std::u32string_view text);
void append_utf8(char32_t character, std::string& text);
// Bytes of the character that is at `at`; 0 if it is not valid UTF-8 there.
size_t valid_character(std::string_view text, size_t at);
// The text itself, or a copy in which such bytes are U+FFFD.
std::string replace_invalid(std::string_view text);

// How characters make words: letters, digits and their marks; characters of scripts written without
// spaces between words; symbols such as emoji; everything else separates.
enum class CharacterClass { kSeparator, kWord, kUnspaced, kSymbol };
CharacterClass classify(char32_t character);

}  // namespace llmcf::text
