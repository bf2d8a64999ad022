// Errors: three kinds of wrong, three tools.
//
//   Bad input, file or configuration  -> throw Error (InputError where a file and a line are
//   known). An expected outcome (cold user, unparsable answer)  -> std::optional or a status field.
//   A programmer's mistake  -> LLMCF_ASSERT, never reachable from input.
//
// Messages name what was wrong, where (file, line, field), the value found, and what to do about
// it.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace llmcf {

// Something outside the program's control is wrong; `what()` is meant for the person at the
// terminal.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// An Error in a named place. `line` counts from 1; 0 means that no line is known.
class InputError : public Error {
 public:
  InputError(std::string_view file, int64_t line, std::string_view reason);

  const std::string& file() const { return file_; }
  int64_t line() const { return line_; }
  const std::string& reason() const { return reason_; }

 private:
  std::string file_;
  int64_t line_;
  std::string reason_;
};

// "unknown KIND 'NAME' (did you mean 'NEAREST'?); known: a, b, c". Returned, so that callers can
// add a place.
std::string unknown_name(std::string_view kind, std::string_view name,
                         const std::vector<std::string>& known);

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);

}  // namespace llmcf

#define LLMCF_ASSERT(expression) \
  ((expression) ? static_cast<void>(0) : ::llmcf::assertion_failed(#expression, __FILE__, __LINE__))
