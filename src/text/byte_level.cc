#include "text/byte_level.h"

#include <array>

#include "text/unicode.h"

namespace llmcf::text {

namespace {

constexpr char32_t kFirst = 0x100, kLast = 0x100 + 68;

bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

struct Tables {
  std::array<char32_t, 256> character;
  std::array<char, kLast> byte{};
  std::array<bool, kLast> known{};
  Tables() {
    char32_t next = kFirst;
    for (int value = 0; value < 256; ++value) {
      const char32_t c = stands_for_itself(value) ? static_cast<char32_t>(value) : next++;
      character[static_cast<size_t>(value)] = c;
      byte[c] = static_cast<char>(value);
      known[c] = true;
    }
  }
};

const Tables& tables() {
  static const Tables instance;
  return instance;
}

}  // namespace

std::string to_printable(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes)
    append_utf8(tables().character[static_cast<unsigned char>(byte)], text);
  return text;
}

std::optional<std::string> from_printable(std::string_view text) {
  std::string bytes;
  for (const char32_t c : decode(text)) {
    if (c >= kLast || !tables().known[c]) return std::nullopt;
    bytes.push_back(tables().byte[c]);
  }
  return bytes;
}

}  // namespace llmcf::text
