#include "llm/chat_template.h"

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::llm {

namespace {

// Gathers tokens; knows what is learned.
class Writer {
 public:
  explicit Writer(const text::LanguageTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void special(std::string_view name, bool learned = false) {
    const auto id = tokenizer_.special(name);
    if (!id)
      throw Error(
          fmt::format("the tokenizer has no token '{}', which this chat template needs; "
                      "another template may fit",
                      name));
    result.ids.push_back(*id);
    result.learned.push_back(learned);
  }
  // The first of the names that the tokenizer has, or nothing if `optional`.
  void either(std::initializer_list<std::string_view> names, bool learned, bool optional) {
    for (const std::string_view name : names)
      if (tokenizer_.special(name)) return special(name, learned);
    if (!optional) special(*names.begin(), learned);
  }
  void text(std::string_view text, bool learned = false) {
    if (text.empty()) return;
    const std::vector<int32_t> ids = tokenizer_.encode(text);
    result.ids.insert(result.ids.end(), ids.begin(), ids.end());
    result.learned.resize(result.ids.size(), learned);
  }

  TokenizedText result;

 private:
  const text::LanguageTokenizer& tokenizer_;
};

const char* role_name(Role role) {
  return role == Role::kSystem ? "system" : role == Role::kUser ? "user" : "assistant";
}

void llama2(const std::vector<Turn>& turns, Writer& out) {
  std::string system;
  for (const Turn& turn : turns) {
    if (turn.role == Role::kSystem) {
      system = "<<SYS>>\n" + turn.text + "\n<</SYS>>\n\n";
    } else if (turn.role == Role::kUser) {
      out.special("<s>");
      out.text("[INST] " + system + turn.text + " [/INST]");
      system.clear();
    } else {
      out.text(turn.text, true);
      out.special("</s>", true);
    }
  }
}

void llama3(const std::vector<Turn>& turns, bool open, Writer& out) {
  const auto header = [&](const char* role) {
    out.special("<|start_header_id|>");
    out.text(role);
    out.special("<|end_header_id|>");
    out.text("\n\n");
  };
  out.special("<|begin_of_text|>");
  for (const Turn& turn : turns) {
    header(role_name(turn.role));
    out.text(turn.text, turn.role == Role::kAssistant);
    out.special("<|eot_id|>", turn.role == Role::kAssistant);
  }
  if (open) header("assistant");
}

void chatml(const std::vector<Turn>& turns, bool open, Writer& out) {
  for (const Turn& turn : turns) {
    out.special("<|im_start|>");
    out.text(std::string(role_name(turn.role)) + "\n");
    out.text(turn.text, turn.role == Role::kAssistant);
    out.special("<|im_end|>", turn.role == Role::kAssistant);
    out.text("\n");
  }
  if (!open) return;
  out.special("<|im_start|>");
  out.text("assistant\n");
}

void plain(const std::vector<Turn>& turns, Writer& out) {
  out.either({"<s>", "<|begin_of_text|>"}, false, true);
  for (const Turn& turn : turns) {
    if (turn.role == Role::kSystem) {
      out.text(turn.text + "\n\n");
    } else if (turn.role == Role::kUser) {
      out.text("### Instruction:\n" + turn.text + "\n\n### Response:\n");
    } else {
      out.text(turn.text, true);
      out.either({"</s>", "<|end_of_text|>", "<|endoftext|>"}, true, false);
    }
  }
}

// A text of its own, without anybody who asks.
void document(const std::string& text, Writer& out) {
  out.either({"<s>", "<|begin_of_text|>"}, false, true);
  out.text(text, true);
  out.either({"</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"}, true, false);
}

TokenizedText write(const std::vector<Turn>& turns, bool open, ChatTemplate format,
                    const text::LanguageTokenizer& tokenizer) {
  Writer out(tokenizer);
  if (turns.size() == 1 && turns[0].role == Role::kAssistant) {
    document(turns[0].text, out);
    return std::move(out.result);
  }
  switch (format) {
    case ChatTemplate::kLlama2:
      llama2(turns, out);
      break;
    case ChatTemplate::kLlama3:
      llama3(turns, open, out);
      break;
    case ChatTemplate::kChatml:
      chatml(turns, open, out);
      break;
    case ChatTemplate::kPlain:
      plain(turns, out);
      break;
  }
  return std::move(out.result);
}

}  // namespace

ChatTemplate chat_template(std::string_view name) {
  static const std::vector<std::string> kNames = {"llama2", "llama3", "chatml", "plain"};
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<ChatTemplate>(i);
  throw Error(unknown_name("chat template", name, kNames));
}

TokenizedText tokenize(const Conversation& conversation, ChatTemplate format,
                       const text::LanguageTokenizer& tokenizer) {
  return write(conversation.turns, false, format, tokenizer);
}

std::vector<int32_t> prompt_ids(const std::vector<Turn>& turns, ChatTemplate format,
                                const text::LanguageTokenizer& tokenizer) {
  if (turns.empty() || turns.back().role != Role::kUser)
    throw Error("a prompt ends with a turn of the user");
  return write(turns, true, format, tokenizer).ids;
}

}  // namespace llmcf::llm
