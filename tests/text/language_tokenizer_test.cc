// Tokenizers of language models: recorded ids, round trips of any bytes, what is refused.
#include "text/language_tokenizer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "shared_data.h"
#include "text/byte_level.h"

namespace llmcf::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Nasty texts; the last ones are not UTF-8.
std::vector<std::string> texts() {
  std::vector<std::string> all = {"",
                                  " ",
                                  "  two",
                                  "tail ",
                                  "\n",
                                  "a\r\n\tb",
                                  "naïve café — “quotes” … €5.00",
                                  "日本語のテキスト と 中文文本 및 한국어",
                                  "🙂👩‍👩‍👧‍👦🏳️‍🌈 emoji",
                                  "<s> </s> <|endoftext|> <0x41>",
                                  std::string("\0\x01\x7f", 3),
                                  std::string(300, 'a'),
                                  "\xF3\xB0\x80\x81 private",
                                  "\xFF",
                                  "a\xFFz",
                                  "\xC3",
                                  "cut \xE6\x97",
                                  "\x80\x80 and \xF0\x9F\x99 then 🙂",
                                  "\xED\xA0\x80 a lone surrogate"};
  Random random(1, "bytes");
  std::string noise;
  for (int i = 0; i < 3000; ++i)
    noise.push_back(static_cast<char>(random.below(256)));
  all.push_back(noise);
  return all;
}

// Ten megabytes: catalogue-like words, and one endless word.
std::string large() {
  Random random(2, "words");
  std::string text;
  while (text.size() < 9'000'000) {
    for (uint64_t letters = 1 + random.below(9); letters > 0; --letters)
      text.push_back(static_cast<char>('a' + random.below(26)));
    text.push_back(random.below(12) == 0 ? '\n' : ' ');
  }
  return text + std::string(1'000'000, 'x');
}

class Shipped : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto path = testing::shared_directory() / "data" / "llm" / GetParam();
    LLMCF_REQUIRE_PATH(path);
    tokenizer_ =
        path.extension() == ".model" ? load_sentencepiece(path) : load_language_tokenizer(path);
  }
  std::unique_ptr<LanguageTokenizer> tokenizer_;
};

TEST_P(Shipped, RoundTripsAnyBytes) {
  for (const std::string& text : texts())
    EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(text)), text);
}

TEST_P(Shipped, TakesTenMegabytes) {
  const std::string text = large();
  const std::vector<int32_t> ids = tokenizer_->encode(text);
  EXPECT_TRUE(tokenizer_->decode(ids) == text);  // too long to print
}

TEST_P(Shipped, RefusesIdsOutsideTheVocabulary) {
  EXPECT_THROW(tokenizer_->bytes(-1), Error);
  EXPECT_THROW(tokenizer_->bytes(static_cast<int32_t>(tokenizer_->size())), Error);
  EXPECT_EQ(tokenizer_->special("no such token"), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(All, Shipped,
                         ::testing::Values("llama2_tokenizer.model", "gpt2-tokenizer"),
                         [](const auto& entry) {
                           const std::string name = entry.param;
                           return name.substr(0, name.find_first_of("-_"));
                         });

TEST(SentencePieceTokenizer, KnowsTheIdsOfLlama2) {
  const auto path = testing::shared_directory() / "data" / "llm" / "llama2_tokenizer.model";
  LLMCF_REQUIRE_PATH(path);
  const auto tokenizer = load_sentencepiece(path);
  EXPECT_EQ(tokenizer->size(), 32000);
  EXPECT_EQ(tokenizer->special("<s>"), 1);
  EXPECT_EQ(tokenizer->special("</s>"), 2);
  EXPECT_EQ(tokenizer->special("the"), std::nullopt) << "an ordinary piece";
  // What the SentencePiece library (0.1.97) gives.
  const std::pair<std::string, std::vector<int32_t>> recorded[] = {
      {R"~(Hello world)~", {15043, 3186}},
      {R"~(hello  world)~", {22172, 29871, 3186}},
      {R"~( leading)~", {29871, 8236}},
      {R"~(trailing )~", {25053, 29871}},
      {R"~(naïve café — “quotes” … €5.00)~",
       {1055, 30085, 345, 274, 28059, 813, 1346, 339, 4769, 30024, 16088, 25540, 29945, 29889,
        29900, 29900}},
      {R"~(日本語のテキスト と 中文文本 및 한국어)~",
       {29871, 30325, 30346, 30968, 30199, 30572, 30454, 30255, 30279, 29871, 30364, 29871,
        30275, 30333, 30333, 30346, 29871, 238,   179,   146,   29871, 30877, 31293, 31129}},
      {R"~(🙂👩‍👩‍👧‍👦🏳️‍🌈 emoji)~",
       {29871, 243,   162,   156,   133, 243, 162,   148, 172, 30722, 243, 162, 148,
        172,   30722, 243,   162,   148, 170, 30722, 243, 162, 148,   169, 243, 162,
        146,   182,   30598, 30722, 243, 162, 143,   139, 953, 29877, 2397}},
      {R"~(<s> </s> <0x41>)~",
       {529, 29879, 29958, 1533, 29879, 29958, 529, 29900, 29916, 29946, 29896, 29958}},
      {R"~(▁ mark)~", {259, 2791}},
      {R"~(123 4567 89.01 1e-5 0x1F)~",
       {29871, 29896, 29906, 29941, 29871, 29946, 29945, 29953, 29955, 29871, 29947, 29929, 29889,
        29900, 29896, 29871, 29896, 29872, 29899, 29945, 29871, 29900, 29916, 29896, 29943}},
      {R"~(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)~",
       {263, 27137, 27137, 27137, 27137, 27137, 27137, 27137, 27137, 27137, 27137, 27137, 27137,
        27137, 27137, 7340, 29874}},
      {R"~(العربية עברית हिन्दी)~",
       {24508, 30218, 30156, 30177, 30163, 30242, 29871, 30324, 30276, 30236, 30196, 30286, 29871,
        30714, 30436, 30424, 30296, 30694, 30580}},
      {R"~(snake_case CamelCase http://example.org/?q=1&r=2)~",
       {269,   21040, 29918, 4878,  5500,  295,   8259,  1732,  597,   4773,
        29889, 990,   13401, 29939, 29922, 29896, 29987, 29878, 29922, 29906}},
      {R"~([INST] Would the user buy it? [/INST])~",
       {518, 25580, 29962, 10878, 278, 1404, 15649, 372, 29973, 518, 29914, 25580, 29962}},
      {R"~(  )~", {1678}},
      {R"~(ﬁ ligature Ａ)~", {29871, 31017, 14172, 1535, 29871, 242, 191, 164}},
      {R"~(don't can't we'll)~", {1016, 29915, 29873, 508, 29915, 29873, 591, 29915, 645}},
  };
  for (const auto& [text, ids] : recorded)
    EXPECT_EQ(tokenizer->encode(text), ids) << text;
  EXPECT_THAT(tokenizer->encode("</s>"), ::testing::Not(::testing::Contains(2)));
  EXPECT_THAT(tokenizer->encode("\xFF"), ElementsAre(29871, 3 + 0xFF));
}

TEST(BpeTokenizer, GivesTheRecordedIdsOfGpt2) {
  const auto directory = testing::shared_directory() / "data" / "llm" / "gpt2-tokenizer";
  LLMCF_REQUIRE_PATH(directory);
  const auto tokenizer = load_language_tokenizer(directory);
  const auto fixture = nlohmann::json::parse(read_file(directory / "fixture.json"));
  ASSERT_GT(fixture.size(), 10U);
  for (const auto& entry : fixture)
    EXPECT_EQ(tokenizer->encode(entry.at("text").get<std::string>()),
              entry.at("ids").get<std::vector<int32_t>>())
        << entry.at("text");
  EXPECT_EQ(tokenizer->special("<|endoftext|>"), 50256);
  EXPECT_EQ(tokenizer->bytes(50256), "");
}

TEST(ByteLevel, WritesEveryByteAsOneCharacterAndReadsItBack) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte)
    all.push_back(static_cast<char>(byte));
  EXPECT_EQ(from_printable(to_printable(all)), all);
  EXPECT_EQ(to_printable(" \n"), "ĠĊ");
  EXPECT_EQ(from_printable("日"), std::nullopt);
}

// A vocabulary of letters, one merge chain, bytes for the rest: as LLaMA 2 writes it.
std::string fallback_json(const std::string& changed = "") {
  nlohmann::json vocab;
  int id = 0;
  for (const char* token : {"<unk>", "<s>", "</s>"})
    vocab[token] = id++;
  for (int byte = 0; byte < 256; ++byte) {
    vocab[fmt::format("<0x{:02X}>", byte)] = id++;
  }
  for (const char* token : {"▁", "a", "b", "ab", "▁ab"})
    vocab[token] = id++;
  nlohmann::json json = {
      {"added_tokens", {{{"id", 1}, {"content", "<s>"}}}},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers",
         {{{"type", "Prepend"}, {"prepend", "▁"}},
          {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}}},
      {"pre_tokenizer", nullptr},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"byte_fallback", true},
        {"vocab", vocab},
        {"merges", {"a b", "▁ ab"}}}}};
  if (changed == "merge") json["model"]["merges"].push_back("a bb");
  if (changed == "pairs")
    json["model"]["merges"] = nlohmann::json::array(
        {nlohmann::json::array({"a", "b"}), nlohmann::json::array({"▁", "ab"})});
  if (changed == "type") json["model"]["type"] = "WordLevel";
  return json.dump();
}

class Written : public ::testing::Test {
 protected:
  std::unique_ptr<LanguageTokenizer> load(const std::string& json) {
    write_file(directory_.path() / "tokenizer.json", json);
    return load_language_tokenizer(directory_.path());
  }
  std::string refusal(const std::string& json) {
    try {
      load(json);
    } catch (const InputError& error) {
      return error.what();
    }
    return "nothing was refused";
  }
  TemporaryDirectory directory_;
};

TEST_F(Written, BpeFallsBackToBytes) {
  for (const char* merges : {"", "pairs"}) {
    const auto tokenizer = load(fallback_json(merges));
    EXPECT_THAT(tokenizer->encode("ab ab"), ElementsAre(263, 263));
    EXPECT_THAT(tokenizer->encode("c"), ElementsAre(259, 3 + 'c'));
    EXPECT_EQ(tokenizer->special("<s>"), 1);
    for (const std::string& text : texts()) {
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << ::testing::PrintToString(text);
    }
  }
}

TEST_F(Written, RefusalsNameTheFileAndThePart) {
  EXPECT_THAT(refusal(fallback_json("merge")), HasSubstr("tokenizer.json"));
  EXPECT_THAT(refusal(fallback_json("merge")), HasSubstr("'bb'"));
  EXPECT_THAT(refusal(fallback_json("type")), HasSubstr("'WordLevel' is not supported"));
  EXPECT_THAT(refusal("{"), HasSubstr("not a tokenizer.json"));
  EXPECT_THROW(load_language_tokenizer(directory_.path() / "nothing"), InputError);
  write_file(directory_.path() / "tokenizer.model", "not a model");
  EXPECT_THAT(refusal("{}"), HasSubstr("tokenizer.model"));
}

}  // namespace
}  // namespace llmcf::text
