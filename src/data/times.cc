#include "data/times.h"

#include <charconv>
#include <chrono>

#include "core/strings.h"

namespace llmcf::data {

namespace {

constexpr int64_t kEnd = 253402300800;  // 10000-01-01

std::optional<int64_t> parse_number(std::string_view text, int64_t divisor) {
  int64_t whole = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error != std::errc() || rest != text.data() + text.size()) {
    const auto number = parse_double(text);
    if (!number || !(*number >= 0 && *number < 1e15)) return std::nullopt;
    whole = static_cast<int64_t>(*number);
  }
  if (whole < 0 || whole / divisor >= kEnd) return std::nullopt;
  return whole / divisor;
}

// Takes exactly `count` digits from the front.
std::optional<int> take_digits(std::string_view& text, size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (size_t index = 0; index < count; ++index) {
    if (text[index] < '0' || text[index] > '9') return std::nullopt;
    value = value * 10 + (text[index] - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool take_byte(std::string_view& text, char byte) {
  if (!text.starts_with(byte)) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<int64_t> parse_date(std::string_view& text) {
  const auto year = take_digits(text, 4);
  if (!year || !take_byte(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take_byte(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch().count() * int64_t{86400};
}

// "12:30", "12:30:15", "12:30:15.25"
std::optional<int64_t> parse_clock(std::string_view& text) {
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23 || !take_byte(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59) return std::nullopt;
  int64_t seconds = *hour * 3600 + *minute * 60;
  if (!take_byte(text, ':')) return seconds;
  const auto second = take_digits(text, 2);
  if (!second || *second > 60) return std::nullopt;
  if (take_byte(text, '.') || take_byte(text, ',')) {
    if (!take_digits(text, 1)) return std::nullopt;
    while (take_digits(text, 1)) {
    }
  }
  return seconds + *second;
}

// "", "Z", "+02:00", "+0200", "+02"
std::optional<int64_t> parse_offset(std::string_view& text) {
  if (text.empty() || take_byte(text, 'Z')) return 0;
  const int64_t sign = text.starts_with('-') ? -1 : 1;
  if (!take_byte(text, '+') && !take_byte(text, '-')) return std::nullopt;
  const auto hours = take_digits(text, 2);
  if (!hours || *hours > 23) return std::nullopt;
  take_byte(text, ':');
  const auto minutes = text.empty() ? std::optional<int>(0) : take_digits(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  return sign * (*hours * 3600 + *minutes * 60);
}

std::optional<int64_t> parse_iso8601(std::string_view text) {
  const auto date = parse_date(text);
  if (!date) return std::nullopt;
  int64_t seconds = *date;
  if (take_byte(text, 'T') || take_byte(text, ' ')) {
    const auto clock = parse_clock(text);
    if (!clock) return std::nullopt;
    take_byte(text, ' ');
    const auto offset = parse_offset(text);
    if (!offset) return std::nullopt;
    seconds += *clock - *offset;
  }
  if (!text.empty() || seconds < 0) return std::nullopt;
  return seconds;
}

}  // namespace

std::optional<int64_t> parse_time(std::string_view text, TimeFormat format) {
  text = trim(text);
  if (format == TimeFormat::kIso8601) return parse_iso8601(text);
  return parse_number(text, format == TimeFormat::kMilliseconds ? 1000 : 1);
}

}  // namespace llmcf::data
