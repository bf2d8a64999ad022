// Each tokenizer part alone, with examples of the reference implementation's documentation.
#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::text {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Json word_piece() {
  return {{"type", "WordPiece"},
          {"unk_token", "[UNK]"},
          {"max_input_chars_per_word", 12},
          {"vocab",
           {{"[UNK]", 0},
            {"un", 1},
            {"##aff", 2},
            {"##able", 3},
            {"able", 4},
            {"ü", 5},
            {"##ü", 6},
            {"!", 7}}}};
}

Tokenizer load(const Json& model, const Json& normalizer = nullptr,
               const Json& pre_tokenizer = nullptr) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "tokenizer.json";
  write_file(path, Json{{"version", "1.0"},
                        {"normalizer", normalizer},
                        {"pre_tokenizer", pre_tokenizer},
                        {"model", model}}
                       .dump());
  return Tokenizer::load(path);
}

std::vector<std::string> pieces(const Json& normalizer, const Json& pre_tokenizer,
                                std::string_view text) {
  return load(word_piece(), normalizer, pre_tokenizer).pieces(text);
}

Json type(const char* name) {
  return {{"type", name}};
}

TEST(WordPiece, TakesTheLongestMatchFirst) {
  const Tokenizer tokenizer = load(word_piece(), nullptr, type("BertPreTokenizer"));
  EXPECT_THAT(tokenizer.encode("unaffable able!"), ElementsAre(1, 2, 3, 4, 7));
  EXPECT_THAT(tokenizer.encode("üü"), ElementsAre(5, 6));
}

TEST(WordPiece, AWordWithAnUnknownPartIsUnknownAsAWhole) {
  const Tokenizer tokenizer = load(word_piece(), nullptr, type("BertPreTokenizer"));
  EXPECT_THAT(tokenizer.encode("unaffx able"), ElementsAre(0, 4));
  EXPECT_THAT(tokenizer.encode("unaffaffableable"), ElementsAre(0));  // over 12 characters
  EXPECT_THAT(tokenizer.encode(""), IsEmpty());
  EXPECT_EQ(tokenizer.unknown_id(), 0);
  EXPECT_EQ(tokenizer.id("able"), 4);
  EXPECT_EQ(tokenizer.id("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer.token(2), "##aff");
}

Json unigram() {
  // The sum of two pieces beats one where the scores say so.
  return Json::parse(R"({"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab":
      [["<unk>", 0.0], ["a", -1.0], ["b", -1.0], ["ab", -3.0], ["abc", -2.5], ["c", -1.0],
       ["é", -1.0]]})");
}

TEST(Unigram, FindsTheMostProbableSegmentation) {
  const Tokenizer tokenizer = load(unigram());
  EXPECT_THAT(tokenizer.encode("ab"), ElementsAre(1, 2));  // -2 > -3
  EXPECT_THAT(tokenizer.encode("abc"), ElementsAre(4));    // -2.5 > -3
  EXPECT_THAT(tokenizer.encode("éab"), ElementsAre(6, 1, 2));
}

TEST(Unigram, NeighbouringUnknownCharactersAreOneToken) {
  const Tokenizer tokenizer = load(unigram());
  EXPECT_THAT(tokenizer.encode("a日本b"), ElementsAre(1, 0, 2));
  EXPECT_THAT(tokenizer.encode("日a本"), ElementsAre(0, 1, 0));
  EXPECT_THAT(tokenizer.encode("\xFF\xFE"
                               "a"),
              ElementsAre(0, 1));
}

TEST(Normalizer, BertCleansLowersAndStripsAccents) {
  EXPECT_THAT(
      pieces(type("BertNormalizer"), nullptr, "H\xC3\x89llo\tW\xC3\xB6rld\x01 \xEF\xBF\xBD"),
      ElementsAre("hello world "));
  EXPECT_THAT(pieces(type("BertNormalizer"), nullptr, "a中文b"), ElementsAre("a 中  文 b"));
  const Json keep = {{"type", "BertNormalizer"}, {"strip_accents", false}, {"lowercase", true}};
  EXPECT_THAT(pieces(keep, nullptr, "ÉÖ"), ElementsAre("éö"));
  const Json cased = {{"type", "BertNormalizer"}, {"strip_accents", nullptr}, {"lowercase", false}};
  EXPECT_THAT(pieces(cased, nullptr, "ÉÖ"), ElementsAre("ÉÖ"));
}

TEST(Normalizer, UnicodeForms) {
  EXPECT_THAT(pieces(type("NFKC"), nullptr, "ﬁ Ⅳ"), ElementsAre("fi IV"));
  EXPECT_THAT(pieces(type("NFC"), nullptr, "e\xCC\x81"), ElementsAre("é"));
  EXPECT_THAT(pieces({{"type", "Sequence"}, {"normalizers", {type("NFD"), type("StripAccents")}}},
                     nullptr, "Crème Brûlée"),
              ElementsAre("Creme Brulee"));
  EXPECT_THAT(pieces(type("Lowercase"), nullptr, "İSTANBUL ÄÖ"), ElementsAre("i̇stanbul äö"));
}

TEST(Normalizer, ReplacesTextsAndPatterns) {
  const Json literal = {{"type", "Replace"}, {"pattern", {{"String", "."}}}, {"content", " . "}};
  EXPECT_THAT(pieces(literal, nullptr, "a.b."), ElementsAre("a . b . "));
  const Json regex = {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}};
  EXPECT_THAT(pieces(regex, nullptr, "ä \t\n b  ö"), ElementsAre("ä b ö"));
  const Json prepend = {{"type", "Prepend"}, {"prepend", "▁"}};
  EXPECT_THAT(pieces(prepend, nullptr, "x"), ElementsAre("▁x"));
  EXPECT_THAT(
      pieces({{"type", "Strip"}, {"strip_left", true}, {"strip_right", false}}, nullptr, "  x "),
      ElementsAre("x "));
}

TEST(PreTokenizer, SplitsAsNamed) {
  EXPECT_THAT(pieces(nullptr, type("BertPreTokenizer"), " don't  stop… now"),
              ElementsAre("don", "'", "t", "stop", "…", "now"));
  EXPECT_THAT(pieces(nullptr, type("Whitespace"), "héllo, wörld!!"),
              ElementsAre("héllo", ",", "wörld", "!!"));
  EXPECT_THAT(pieces(nullptr, type("WhitespaceSplit"), "a, b!"), ElementsAre("a,", "b!"));
  EXPECT_THAT(pieces(nullptr, {{"type", "Digits"}, {"individual_digits", true}}, "a12"),
              ElementsAre("a", "1", "2"));
  EXPECT_THAT(pieces(nullptr, {{"type", "Digits"}, {"individual_digits", false}}, "a12b"),
              ElementsAre("a", "12", "b"));
}

TEST(PreTokenizer, MetaspaceMarksSpaces) {
  EXPECT_THAT(pieces(nullptr, type("Metaspace"), "a b"), ElementsAre("▁a", "▁b"));
  const Json whole = {{"type", "Metaspace"}, {"prepend_scheme", "always"}, {"split", false}};
  EXPECT_THAT(pieces(nullptr, whole, "a b"), ElementsAre("▁a▁b"));
  const Json never = {{"type", "Metaspace"}, {"prepend_scheme", "never"}};
  EXPECT_THAT(pieces(nullptr, never, "a b"), ElementsAre("a", "▁b"));
  const Json first = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Punctuation"}}, {{"type", "Metaspace"}, {"prepend_scheme", "first"}}}}};
  EXPECT_THAT(pieces(nullptr, first, "a.b"), ElementsAre("▁a", ".", "b"));
}

TEST(PreTokenizer, SplitKnowsEveryBehaviour) {
  const auto split = [](const char* behavior, bool invert = false) {
    return Json{{"type", "Split"},
                {"pattern", {{"String", "-"}}},
                {"behavior", behavior},
                {"invert", invert}};
  };
  // The reference's own example.
  const char* text = "the-final--countdown";
  EXPECT_THAT(pieces(nullptr, split("Removed"), text), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(pieces(nullptr, split("Isolated"), text),
              ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(pieces(nullptr, split("MergedWithPrevious"), text),
              ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(pieces(nullptr, split("MergedWithNext"), text),
              ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(pieces(nullptr, split("Contiguous"), text),
              ElementsAre("the", "-", "final", "--", "countdown"));
  EXPECT_THAT(pieces(nullptr, split("Removed", true), text), ElementsAre("-", "-", "-"));
}

std::string failure(const Json& model, const Json& normalizer = nullptr,
                    const Json& pre_tokenizer = nullptr) {
  try {
    load(model, normalizer, pre_tokenizer);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Tokenizer, UnsupportedPartsAreNamed) {
  EXPECT_THAT(failure(word_piece(), type("Precompiled")), HasSubstr("normalizer 'Precompiled'"));
  EXPECT_THAT(failure(word_piece(), nullptr, type("CharDelimiterSplit")),
              HasSubstr("pre_tokenizer 'CharDelimiterSplit'"));
  EXPECT_THAT(failure({{"type", "WordLevel"}}), HasSubstr("model 'WordLevel'"));
  EXPECT_THAT(failure({{"type", "WordPiece"}, {"vocab", {{"a", 0}}}}), HasSubstr("[UNK]"));
  EXPECT_THAT(failure({{"type", "Unigram"}}), HasSubstr("vocab"));
  const Json bad = {{"type", "Replace"}, {"pattern", {{"Regex", "("}}}, {"content", ""}};
  EXPECT_THAT(failure(word_piece(), bad), HasSubstr("regular expression '('"));
  EXPECT_THAT(failure(word_piece(), bad), HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace llmcf::text
