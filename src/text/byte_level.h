// GPT-2's way to write any bytes as printable characters, so that a vocabulary of texts can hold
// them: printable Latin-1 stands for itself, the other 68 bytes for the characters from U+0100.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llmcf::text {

// One character per byte, as UTF-8.
std::string to_printable(std::string_view bytes);
// The reverse; nothing if a character stands for no byte.
std::optional<std::string> from_printable(std::string_view text);

}  // namespace llmcf::text
