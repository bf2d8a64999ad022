// Texts of errors: place first, then reason.
#include "core/error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/strings.h"

namespace llmcf {

namespace {

std::string place(std::string_view file, int64_t line, std::string_view reason) {
  if (line > 0) return fmt::format("{}:{}: {}", file, line, reason);
  return fmt::format("{}: {}", file, reason);
}

}  // namespace

InputError::InputError(std::string_view file, int64_t line, std::string_view reason)
    : Error(place(file, line, reason)), file_(file), line_(line), reason_(reason) {}

std::string unknown_name(std::string_view kind, std::string_view name,
                         const std::vector<std::string>& known) {
  std::string message = fmt::format("unknown {} '{}'", kind, name);
  if (const auto* nearest = nearest_name(name, known)) {
    message += fmt::format(" (did you mean '{}'?)", *nearest);
  }
  return message + fmt::format("; known: {}", fmt::join(known, ", "));
}

void assertion_failed(const char* expression, const char* file, int line) {
  throw std::logic_error(fmt::format("{}:{}: assertion failed: {}", file, line, expression));
}

}  // namespace llmcf
