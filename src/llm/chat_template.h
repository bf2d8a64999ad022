// How a conversation is written for a model, and which of its tokens are to be learned. No
// libtorch.
//
// Invariant: special tokens enter by id, never by a text that looks like one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "llm/instructions.h"
#include "text/language_tokenizer.h"

namespace llmcf::llm {

//   llama2  <s>[INST] <<SYS>>\n system \n<</SYS>>\n\n user [/INST] answer </s>
//   llama3  <|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n user <|eot_id|> ...
//   chatml  <|im_start|>user\n user <|im_end|>\n<|im_start|>assistant\n answer <|im_end|>
//   plain   <s> system\n\n### Instruction:\nuser\n\n### Response:\nanswer </s>
enum class ChatTemplate { kLlama2, kLlama3, kChatml, kPlain };
ChatTemplate chat_template(std::string_view name);  // throws Error naming the known ones

struct TokenizedText {
  std::vector<int32_t> ids;
  std::vector<uint8_t> learned;  // by token: 1 = of an answer, its end included
};

// The whole conversation. Throws Error naming a special token that the tokenizer lacks.
TokenizedText tokenize(const Conversation& conversation, ChatTemplate format,
                       const text::LanguageTokenizer& tokenizer);
// A question as turns; an empty system text is none.
inline std::vector<Turn> question(const std::string& system, const std::string& user) {
  std::vector<Turn> turns;
  if (!system.empty()) turns.push_back({Role::kSystem, system});
  turns.push_back({Role::kUser, user});
  return turns;
}
// What a model is to continue: everything up to where the next answer begins. The last turn is the
// user's.
std::vector<int32_t> prompt_ids(const std::vector<Turn>& turns, ChatTemplate format,
                                const text::LanguageTokenizer& tokenizer);

}  // namespace llmcf::llm
