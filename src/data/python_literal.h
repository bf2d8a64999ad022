// A strict parser for Python literals: what `repr` of dicts, lists, tuples, strings, numbers, True,
// False and None looks like. JSON's true, false and null are accepted too, so that every JSON text
// parses. Nothing is evaluated.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llmcf::data {

// What a parse calls, in the order of the text. Depth 0 is the outermost value.
class PythonEvents {
 public:
  virtual ~PythonEvents() = default;
  // A key of the dict that is open at `depth`; its value follows.
  virtual void key(int depth, std::string_view name) = 0;
  virtual void begin_dict(int depth) = 0;
  virtual void begin_list(int depth) = 0;
  virtual void end(int depth) = 0;
  // Strings unescaped, as UTF-8; numbers as written; "true", "false"; None is empty.
  virtual void scalar(int depth, std::string_view text) = 0;
};

// Empty when `text` is exactly one literal; else what is wrong, with the column (from 1).
//
// Strings: '...' and "..." with an optional u prefix; escapes as in Python 3 (\xhh and \ooo are
// code points). Triple quotes, bytes, raw strings, \N{...}, complex numbers and implicit
// concatenation are errors.
std::string parse_python_literal(std::string_view text, PythonEvents& events);

}  // namespace llmcf::data
