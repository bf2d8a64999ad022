#include "data/python_literal.h"

#include <optional>

#include <fmt/format.h>

#include "core/strings.h"

namespace llmcf::data {

namespace {

constexpr int kDepth = 64;

void append_utf8(uint32_t code, std::string& out) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

int digit_of(char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
  return 99;
}

struct Failure {
  std::string reason;
};

class LiteralParser {
 public:
  LiteralParser(std::string_view text, PythonEvents& events) : text_(text), events_(events) {}

  std::string run() {
    try {
      value(0);
      skip_space();
      if (at_ < text_.size()) fail("text behind the end of the literal");
      return {};
    } catch (const Failure& failure) {
      return failure.reason;
    }
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw Failure{fmt::format("column {}: {}", at_ + 1, what)};
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\r')
      ++at_;
  }

  void value(int depth) {
    if (depth > kDepth) fail("nested more than 64 levels deep");
    skip_space();
    const char byte = peek();
    if (byte == '{') return dict(depth);
    if (byte == '[') return list(depth, ']');
    if (byte == '(') return list(depth, ')');
    if (at_string()) return events_.scalar(depth, string());
    if ((byte >= '0' && byte <= '9') || byte == '-' || byte == '+' || byte == '.')
      return events_.scalar(depth, number());
    constant(depth);
  }

  void dict(int depth) {
    events_.begin_dict(depth);
    ++at_;
    for (skip_space(); peek() != '}'; skip_space()) {
      if (!at_string()) fail("expected a quoted key or '}'");
      events_.key(depth, string());
      skip_space();
      if (peek() != ':') fail("expected ':' behind the key");
      ++at_;
      value(depth + 1);
      if (!comma('}')) break;
    }
    ++at_;
    events_.end(depth);
  }

  void list(int depth, char close) {
    events_.begin_list(depth);
    ++at_;
    for (skip_space(); peek() != close; skip_space()) {
      value(depth + 1);
      if (!comma(close)) break;
    }
    ++at_;
    events_.end(depth);
  }

  // Behind an element: true past a comma, false on the closing bracket.
  bool comma(char close) {
    skip_space();
    if (peek() == close) return false;
    if (peek() != ',') fail(fmt::format("expected ',' or '{}'", close));
    ++at_;
    return true;
  }

  bool at_string() const {
    const char byte = peek();
    if (byte == '\'' || byte == '"') return true;
    return (byte == 'u' || byte == 'U') && at_ + 1 < text_.size() &&
           (text_[at_ + 1] == '\'' || text_[at_ + 1] == '"');
  }

  std::string_view string() {
    if (peek() == 'u' || peek() == 'U') ++at_;
    const char quote = text_[at_++];
    string_.clear();
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] != '\\')
        string_ += text_[at_++];
      else
        escape();
    }
    if (at_ >= text_.size()) fail("a string is never closed");
    ++at_;
    return string_;
  }

  void escape() {
    ++at_;
    const char byte = peek();
    if (at_ >= text_.size()) fail("a string is never closed");
    if (byte >= '0' && byte <= '7') return append_utf8(digits(3, 8, false), string_);
    ++at_;
    static constexpr std::string_view kNames = "abfnrtv\\'\"";
    static constexpr std::string_view kBytes = "\a\b\f\n\r\t\v\\'\"";
    if (const size_t known = kNames.find(byte); known != std::string_view::npos)
      string_ += kBytes[known];
    else if (byte == 'x')
      append_utf8(digits(2, 16, true), string_);
    else if (byte == 'u')
      unicode();
    else if (byte == 'U')
      code_point(digits(8, 16, true));
    else if (byte == 'N')
      fail("\\N{...} escapes are not supported");
    else
      string_.append({'\\', byte});  // Python keeps unknown escapes
  }

  // Behind \u: one code unit, or two that form a surrogate pair.
  void unicode() {
    const uint32_t first = digits(4, 16, true);
    if (first >= 0xD800 && first < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      const uint32_t second = digits(4, 16, true);
      if (second < 0xDC00 || second > 0xDFFF) fail("half of a surrogate pair");
      return code_point(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00));
    }
    code_point(first);
  }

  void code_point(uint32_t code) {
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) fail("not a Unicode code point");
    append_utf8(code, string_);
  }

  // Up to `most` digits; exactly so many if `all`.
  uint32_t digits(int most, int base, bool all) {
    uint32_t value = 0;
    int count = 0;
    while (count < most && digit_of(peek()) < base) {
      value = value * static_cast<uint32_t>(base) + static_cast<uint32_t>(digit_of(peek()));
      ++at_;
      ++count;
    }
    if (all && count < most) fail(fmt::format("expected {} hexadecimal digits", most));
    return value;
  }

  std::string_view number() {
    const size_t begin = at_;
    while (at_ < text_.size() &&
           (digit_of(text_[at_]) < 10 ||
            std::string_view("+-.eE").find(text_[at_]) != std::string_view::npos))
      ++at_;
    std::string_view text = text_.substr(begin, at_ - begin);
    if (peek() == 'L') ++at_;  // Python 2
    const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
    if (!parse_double(digits)) {
      at_ = begin;
      fail("not a number");
    }
    return text;
  }

  void constant(int depth) {
    static constexpr std::pair<std::string_view, std::string_view> kConstants[] = {
        {"True", "true"},   {"False", "false"}, {"None", ""}, {"true", "true"},
        {"false", "false"}, {"null", ""},       {"nan", ""},  {"NaN", ""},
    };
    for (const auto& [name, text] : kConstants) {
      if (!text_.substr(at_).starts_with(name)) continue;
      at_ += name.size();
      return events_.scalar(depth, text);
    }
    fail(at_ >= text_.size() ? "the literal ends too early" : "expected a value");
  }

  std::string_view text_;
  PythonEvents& events_;
  size_t at_ = 0;
  std::string string_;
};

}  // namespace

std::string parse_python_literal(std::string_view text, PythonEvents& events) {
  return LiteralParser(text, events).run();
}

}  // namespace llmcf::data
