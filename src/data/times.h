// Times of interactions as Unix seconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "data/schema.h"

namespace llmcf::data {

// Seconds and milliseconds may carry a fraction, which is cut off. ISO 8601: "2014-03-01",
// "2014-03-01T12:30[:15[.5]]" (or a blank for T), then nothing (UTC), "Z" or "+02:00". Null outside
// the years 1970 to 9999 and for anything else.
std::optional<int64_t> parse_time(std::string_view text, TimeFormat format);

}  // namespace llmcf::data
