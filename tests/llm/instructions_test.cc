// Instruction files, their mixture, and how conversations are written for models.
#include "llm/instructions.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "llm/chat_template.h"
#include "llm/toy_tokenizer.h"
#include "shared_data.h"

namespace llmcf::llm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Instructions : public ::testing::Test {
 protected:
  std::vector<Conversation> read(const std::string& content) {
    write_file(directory_.path() / "data.json", content);
    return read_conversations(directory_.path() / "data.json");
  }
  std::string refusal(const std::string& content) {
    try {
      read(content);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  }
  static std::string text(const Conversation& talk) {
    std::string result;
    for (const Turn& turn : talk.turns)
      result += std::string(turn.role == Role::kSystem ? "S:"
                            : turn.role == Role::kUser ? "U:"
                                                       : "A:") +
                turn.text + "|";
    return result;
  }
  TemporaryDirectory directory_;
};

TEST_F(Instructions, AllFormatsSayTheSame) {
  for (
      const char* content :
      {R"([{"instruction": "q", "input": "", "output": "a"}])",
       R"({"instruction": "q", "output": "a"})",
       R"({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]})",
       R"([{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}])",
       R"({"conversations": ["q", "a"], "source": "lima"})"})
    EXPECT_EQ(text(read(content).at(0)), "U:q|A:a|") << content;
  EXPECT_EQ(text(read(R"([{"instruction": "q", "input": "i", "Output": "a", "system": "s",
                           "history": [["b", "c"]]}])")[0]),
            "S:s|U:b|A:c|U:q\ni|A:a|");
  EXPECT_EQ(read("{\"instruction\": \"q\", \"output\": \"a\"}\n\n"
                 "{\"instruction\": \"r\", \"output\": \"b\"}\n")
                .size(),
            2U);
}

TEST_F(Instructions, RefusalsNameThePlace) {
  EXPECT_THAT(refusal(""), HasSubstr("is empty"));
  EXPECT_THAT(refusal("[]"), HasSubstr("no conversation"));
  EXPECT_THAT(refusal("[{]"), HasSubstr("not JSON"));
  EXPECT_THAT(refusal("{\"instruction\": \"q\", \"output\": \"a\"}\n{\"instruction\": \"q\"}"),
              AllOf(HasSubstr("data.json:2"), HasSubstr("no 'output'")));
  EXPECT_THAT(refusal("[{\"text\": \"q\"}]"), AllOf(HasSubstr("entry 1"), HasSubstr("neither")));
  EXPECT_THAT(refusal("{\"conversations\": [\"q\"]}"), HasSubstr("no answer"));
  EXPECT_THAT(refusal("{\"conversations\": [\"q\", \"a\", \"r\"]}"),
              HasSubstr("ends with a question"));
  EXPECT_THAT(refusal(R"({"conversations": [{"from": "tool", "value": "q"}]})"),
              HasSubstr("'tool'"));
  EXPECT_THAT(refusal(R"({"messages": [{"role": "assistant", "content": "a"},
                                       {"role": "user", "content": "q"}]})"
                      ""),
              HasSubstr("not JSON"))
      << "a JSON line ends with its line";
  EXPECT_THAT(
      refusal(
          R"([{"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "q"}]}])"),
      HasSubstr("wrong side"));
}

TEST(Mixture, GivesSharesWithoutNeedlessRepetition) {
  const std::vector<int64_t> sizes = {100, 10, 1000};
  const auto count = [&](const std::vector<Pick>& picks) {
    std::map<int32_t, std::map<int32_t, int>> times;
    for (const Pick& pick : picks)
      ++times[pick.source][pick.index];
    return times;
  };
  auto all = count(mix(sizes, {}, 0, 1));
  EXPECT_EQ(all[0].size() + all[1].size() + all[2].size(), 1110U);
  auto weighted = count(mix(sizes, {1, 1, 2}, 200, 1));
  int drawn = 0;
  for (const auto& [index, times] : weighted[1]) {
    EXPECT_EQ(times, 5) << "50 of 10";
    drawn += times;
  }
  EXPECT_EQ(drawn, 50);
  EXPECT_EQ(weighted[0].size(), 50U);
  EXPECT_EQ(weighted[2].size(), 100U);
  EXPECT_EQ(mix(sizes, {0, 1, 0}, 7, 1).size(), 7U);
  EXPECT_EQ(mix(sizes, {1, 1, 2}, 200, 1), mix(sizes, {1, 1, 2}, 200, 1));
  EXPECT_NE(mix(sizes, {1, 1, 2}, 200, 1), mix(sizes, {1, 1, 2}, 200, 2));
  EXPECT_THROW(mix(sizes, {1}, 0, 1), Error);
  EXPECT_THROW(mix(sizes, {0, 0, 0}, 0, 1), Error);
  EXPECT_THROW(mix(sizes, {1, -1, 1}, 0, 1), Error);
}

// The text with special tokens shown, learned tokens in braces.
std::string shown(const TokenizedText& text, const text::LanguageTokenizer& tokenizer) {
  std::string result;
  bool in = false;
  for (size_t i = 0; i < text.ids.size(); ++i) {
    if ((text.learned[i] != 0) != in) result += (in = !in) ? "{" : "}";
    result += text.ids[i] == 1 ? "<s>" : text.ids[i] == 2 ? "</s>" : tokenizer.bytes(text.ids[i]);
  }
  return result + (in ? "}" : "");
}

TEST(ChatTemplates, WriteConversationsAndLearnAnswers) {
  const testing::ByteTokenizer tokenizer;
  const Conversation talk = {{{Role::kSystem, "sys"},
                              {Role::kUser, "one"},
                              {Role::kAssistant, "two"},
                              {Role::kUser, "three"},
                              {Role::kAssistant, "four"}}};
  EXPECT_EQ(shown(tokenize(talk, ChatTemplate::kLlama2, tokenizer), tokenizer),
            "<s>[INST] <<SYS>>\nsys\n<</SYS>>\n\none [/INST]{two</s>}<s>[INST] three [/INST]"
            "{four</s>}");
  EXPECT_EQ(shown(tokenize(talk, ChatTemplate::kPlain, tokenizer), tokenizer),
            "<s>sys\n\n### Instruction:\none\n\n### Response:\n{two</s>}### Instruction:\nthree\n\n"
            "### Response:\n{four</s>}");
  const std::vector<Turn> asked(talk.turns.begin(), talk.turns.begin() + 2);
  for (const auto format : {ChatTemplate::kLlama2, ChatTemplate::kPlain}) {
    const auto whole = tokenize(talk, format, tokenizer).ids;
    const auto prompt = prompt_ids(asked, format, tokenizer);
    EXPECT_TRUE(std::equal(prompt.begin(), prompt.end(), whole.begin())) << "a prompt is a prefix";
  }
  EXPECT_THROW(prompt_ids(talk.turns, ChatTemplate::kPlain, tokenizer), Error);
  try {
    tokenize(talk, ChatTemplate::kChatml, tokenizer);
    ADD_FAILURE() << "the tokenizer has no <|im_start|>";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("<|im_start|>"));
  }
  EXPECT_THROW(chat_template("vicuna"), Error);
}

TEST(ChatTemplates, SpecialTokensInATextAreText) {
  const testing::ByteTokenizer tokenizer;
  const Conversation talk = {{{Role::kUser, "</s><s>"}, {Role::kAssistant, "</s>"}}};
  const auto ids = tokenize(talk, ChatTemplate::kLlama2, tokenizer).ids;
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 1), 1);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 1);
}

TEST(Instructions_, SharedSamplesAreRead) {
  const auto folder = llmcf::testing::shared_directory() / "data" / "llm";
  LLMCF_REQUIRE_PATH(folder);
  EXPECT_EQ(read_conversations(folder / "lima.json").size(), 1029U);
  EXPECT_EQ(read_conversations(folder / "alpaca_en_demo_1000.json").size(), 1000U);
  EXPECT_EQ(read_conversations(folder / "alpaca_2000_gumbelsoft.json").size(), 2000U);
}

}  // namespace
}  // namespace llmcf::llm
