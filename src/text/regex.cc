#include "text/regex.h"

#include <fmt/format.h>
#include <unicode/regex.h>
#include <unicode/utext.h>

#include "core/error.h"

namespace llmcf::text {

struct Pattern::Regex {
  std::unique_ptr<const icu::RegexPattern> pattern;
};

namespace {

struct UTextCloser {
  void operator()(UText* text) const { utext_close(text); }
};

void check(UErrorCode status) {
  if (U_FAILURE(status)) throw Error(fmt::format("regular expression: {}", u_errorName(status)));
}

}  // namespace

Pattern::Pattern(const nlohmann::json& description) {
  if (description.is_string()) {
    literal_ = description.get<std::string>();
  } else if (description.contains("String")) {
    literal_ = description.at("String").get<std::string>();
  } else if (description.contains("Regex")) {
    const auto source = description.at("Regex").get<std::string>();
    UErrorCode status = U_ZERO_ERROR;
    UParseError place{};
    auto regex = std::make_unique<Regex>();
    regex->pattern.reset(
        icu::RegexPattern::compile(icu::UnicodeString::fromUTF8(source), 0, place, status));
    if (U_FAILURE(status))
      throw Error(fmt::format("regular expression '{}' is not supported: {} at character {}",
                              source, u_errorName(status), place.offset));
    regex_ = std::move(regex);
  } else {
    throw Error("pattern must be {\"String\": ...} or {\"Regex\": ...}, found " +
                description.dump());
  }
  if (regex_ == nullptr && literal_.empty()) throw Error("pattern is empty");
}

Pattern::~Pattern() = default;

std::vector<Match> Pattern::find_all(std::string_view text) const {
  std::vector<Match> matches;
  if (regex_ == nullptr) {
    for (size_t at = text.find(literal_); at != std::string_view::npos;
         at = text.find(literal_, at + literal_.size()))
      matches.push_back({at, at + literal_.size()});
    return matches;
  }
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<UText, UTextCloser> input(
      utext_openUTF8(nullptr, text.data(), static_cast<int64_t>(text.size()), &status));
  check(status);
  const std::unique_ptr<icu::RegexMatcher> matcher(regex_->pattern->matcher(status));
  check(status);
  matcher->reset(input.get());
  while (matcher->find(status)) {
    const Match match{static_cast<size_t>(matcher->start64(status)),
                      static_cast<size_t>(matcher->end64(status))};
    check(status);
    if (match.end > match.begin) matches.push_back(match);
  }
  check(status);
  return matches;
}

}  // namespace llmcf::text
