// Text helpers at their edges.
#include "core/strings.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace llmcf {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Strings, SplitKeepsEmptyFields) {
  EXPECT_THAT(split("a,,b", ','), ElementsAre("a", "", "b"));
  EXPECT_THAT(split("", ','), ElementsAre(""));
  EXPECT_THAT(split(",", ','), ElementsAre("", ""));
}

TEST(Strings, TrimTakesWhiteSpaceAtBothEnds) {
  EXPECT_EQ(trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(trim(" \n "), "");
  EXPECT_EQ(trim(""), "");
}

TEST(Strings, ToLowerTouchesAsciiOnly) {
  EXPECT_EQ(to_lower("AbZ-É9"), "abz-É9");
}

TEST(Utf8, AcceptsTheShortestAndLongestOfEveryLength) {
  for (const auto& text :
       {"\x00"s, "\x7F"s, "\xC2\x80"s, "\xDF\xBF"s, "\xE0\xA0\x80"s, "\xED\x9F\xBF"s,
        "\xEE\x80\x80"s, "\xEF\xBF\xBF"s, "\xF0\x90\x80\x80"s, "\xF4\x8F\xBF\xBF"s, ""s}) {
    EXPECT_EQ(first_invalid_utf8(text), std::nullopt);
  }
}

TEST(Utf8, NamesTheFirstBadByte) {
  EXPECT_EQ(first_invalid_utf8("ab\xFFzz"), 2u);
  EXPECT_EQ(first_invalid_utf8("é\x80"), 2u) << "a continuation without its lead";
  EXPECT_EQ(first_invalid_utf8("a\xC3"), 1u) << "cut inside a sequence";
  EXPECT_EQ(first_invalid_utf8("a\xE2\x82"), 1u);
  EXPECT_EQ(first_invalid_utf8("a\xF0\x9F\x98"), 1u);
  EXPECT_EQ(first_invalid_utf8("\xC3(x"), 0u);
}

TEST(Utf8, RefusesOverlongFormsSurrogatesAndWhatIsBeyondUnicode) {
  for (const auto& text :
       {"\xC0\x80"s, "\xC1\xBF"s, "\xE0\x9F\xBF"s, "\xF0\x8F\xBF\xBF"s, "\xED\xA0\x80"s,
        "\xED\xBF\xBF"s, "\xF4\x90\x80\x80"s, "\xF5\x80\x80\x80"s, "\xFE"s}) {
    EXPECT_EQ(first_invalid_utf8(text), 0u);
  }
}

TEST(Strings, NearestNameForgivesSlipsOnly) {
  const std::vector<std::string> known = {"learning_rate", "epochs", "batch"};
  EXPECT_EQ(*nearest_name("learnin_rate", known), "learning_rate");
  EXPECT_EQ(*nearest_name("epoch", known), "epochs");
  EXPECT_EQ(nearest_name("zebra_crossing", known), nullptr);
  EXPECT_EQ(nearest_name("x", {}), nullptr);
}

TEST(Strings, NumbersMustFillTheWholeText) {
  EXPECT_EQ(parse_int("-42"), -42);
  EXPECT_EQ(parse_int("9223372036854775807"), std::numeric_limits<int64_t>::max());
  for (const char* text : {"", " 1", "1 ", "1.0", "9223372036854775808", "0x1", "+1", "one"}) {
    EXPECT_EQ(parse_int(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_double("1e-3"), 1e-3);
  EXPECT_EQ(parse_double("-0.5"), -0.5);
  for (const char* text : {"", "1.0x", " 1", "1,5", "--1"}) {
    EXPECT_EQ(parse_double(text), std::nullopt) << text;
  }
}

TEST(Strings, CommasEveryThreeDigits) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(-1000), "-1,000");
  EXPECT_EQ(with_commas(1'234'567), "1,234,567");
  EXPECT_EQ(with_commas(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(Strings, HumanBytesPickTheUnit) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(3.0 * (1LL << 40)), "3.0 TiB");
}

TEST(Strings, EscapeHtmlLeavesNoMarkup) {
  EXPECT_EQ(escape_html("<a href=\"x\">T&T</a>"), "&lt;a href=&quot;x&quot;&gt;T&amp;T&lt;/a&gt;");
  EXPECT_EQ(escape_html("it's"), "it&#39;s");
}

TEST(Errors, NameFileLineAndReason) {
  EXPECT_STREQ(InputError("a.tsv", 7, "bad label 'x'").what(), "a.tsv:7: bad label 'x'");
  EXPECT_STREQ(InputError("a.tsv", 0, "is empty").what(), "a.tsv: is empty");
  EXPECT_THAT(unknown_name("encoder", "lsaa", {"lsa", "model2vec"}),
              HasSubstr("did you mean 'lsa'?"));
  EXPECT_THROW(LLMCF_ASSERT(1 == 2), std::logic_error);
}

}  // namespace
}  // namespace llmcf
