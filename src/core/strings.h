// Small text helpers that the standard library lacks. All are pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llmcf {

// Fields between separators, empty ones kept: split("a,,b", ',') is {"a", "", "b"}. Views into
// `text`.
std::vector<std::string_view> split(std::string_view text, char separator);

// `text` without ASCII white space at both ends.
std::string_view trim(std::string_view text);

// ASCII lower case; other bytes are kept.
std::string to_lower(std::string_view text);

// Index of the first byte that is not part of valid UTF-8 (overlong forms and surrogates are
// invalid).
std::optional<size_t> first_invalid_utf8(std::string_view text);

// The known name closest to `name` by edit distance, or null if none is near enough to be a slip.
const std::string* nearest_name(std::string_view name, const std::vector<std::string>& known);

// Whole-string conversions; nullopt if anything but the number (and nothing else) is there.
std::optional<int64_t> parse_int(std::string_view text);
std::optional<double> parse_double(std::string_view text);

// "1,234,567".
std::string with_commas(int64_t value);

// "1.5 GiB".
std::string human_bytes(double bytes);

// Escapes for text inside HTML elements and quoted attributes.
std::string escape_html(std::string_view text);

}  // namespace llmcf
