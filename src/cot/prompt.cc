// Reads prompt files and fills their slots.
#include "cot/prompt.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/strings.h"
#include "cot/untrusted.h"

namespace llmcf::cot {

namespace {

constexpr std::string_view kSystemMark = "=== system ===";
constexpr std::string_view kUserMark = "=== user ===";

const std::vector<std::string> kSlots = {"history", "target", "decision", "history_length"};

struct Section {
  int64_t first_line = 0;  // of the body; 0 = the section is absent
  std::string_view body;
};

// The body between the line `mark` and the next mark or the end.
Section find_section(std::string_view text, std::string_view mark, const std::string& name) {
  Section found;
  int64_t line_number = 0;
  size_t position = 0;
  size_t body_begin = 0;
  while (position < text.size()) {
    const size_t end = std::min(text.find('\n', position), text.size());
    const std::string_view line = trim(text.substr(position, end - position));
    ++line_number;
    if (line == kSystemMark || line == kUserMark) {
      if (body_begin != 0 && found.body.empty())
        found.body = text.substr(body_begin, position - body_begin);
      if (line == mark) {
        if (found.first_line != 0)
          throw InputError(name, line_number, fmt::format("'{}' stands here again", mark));
        found.first_line = line_number + 1;
        body_begin = std::min(end + 1, text.size());
      }
    }
    position = end + 1;
  }
  if (found.first_line == 0)
    throw InputError(name, line_number, fmt::format("the line '{}' is missing", mark));
  if (found.body.empty()) found.body = text.substr(body_begin);
  return found;
}

std::string item_block(const ItemFacts& item, int64_t max_chars) {
  const std::string_view text = item.text.empty() ? item.title : item.text;
  return fmt::format("<item>{}</item>", neutralise(text, max_chars));
}

std::string history_block(const Facts& facts, int64_t max_chars) {
  if (facts.history.empty()) return "(none)";
  std::string block;
  for (const ItemFacts& item : facts.history) {
    if (!block.empty()) block += '\n';
    block += item_block(item, max_chars);
  }
  return block;
}

}  // namespace

Prompt::Pieces Prompt::parse_section(std::string_view body, int64_t first_line,
                                     const std::string& name) {
  Pieces pieces;
  size_t position = 0;
  const auto line_at = [&](size_t offset) {
    return first_line + std::count(body.begin(), body.begin() + static_cast<int64_t>(offset), '\n');
  };
  while (position < body.size()) {
    const size_t open = body.find("{{", position);
    pieces.push_back({.text = std::string(body.substr(position, open - position)), .slot = false});
    if (open == std::string_view::npos) break;
    const size_t close = body.find("}}", open);
    const size_t line_end = body.find('\n', open);
    if (close == std::string_view::npos || close > line_end)
      throw InputError(name, line_at(open), "'{{' without '}}' on the same line");
    std::string slot(trim(body.substr(open + 2, close - open - 2)));
    if (std::find(kSlots.begin(), kSlots.end(), slot) == kSlots.end())
      throw InputError(name, line_at(open), unknown_name("slot", slot, kSlots));
    pieces.push_back({.text = std::move(slot), .slot = true});
    position = close + 2;
  }
  return pieces;
}

Prompt Prompt::parse(std::string_view text, const std::string& name) {
  if (const auto bad = first_invalid_utf8(text)) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<int64_t>(*bad), '\n');
    throw InputError(name, line, "not valid UTF-8");
  }
  const Section system = find_section(text, kSystemMark, name);
  const Section user = find_section(text, kUserMark, name);
  Prompt prompt;
  prompt.name_ = name;
  prompt.text_ = std::string(text);
  prompt.system_ = parse_section(trim(system.body), system.first_line, name);
  prompt.user_ = parse_section(trim(user.body), user.first_line, name);
  for (const char* required : {"history", "target"}) {
    const bool found =
        std::any_of(prompt.user_.begin(), prompt.user_.end(),
                    [&](const Piece& piece) { return piece.slot && piece.text == required; });
    if (!found) {
      throw InputError(name, user.first_line,
                       fmt::format("the user section has no slot '{{{{{}}}}}'", required));
    }
  }
  for (const Piece& piece : prompt.system_) {
    if (piece.slot && piece.text != "history_length") {
      throw InputError(name, system.first_line,
                       fmt::format("the slot '{{{{{}}}}}' belongs into the user section: the "
                                   "system section holds nothing of a row",
                                   piece.text));
    }
  }
  return prompt;
}

Prompt Prompt::load(const std::filesystem::path& path) {
  return parse(read_file(path), path.string());
}

Prompt Prompt::builtin(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [prompt_name, text] : builtin_prompts()) {
    if (prompt_name == name) return parse(text, name);
    known.push_back(prompt_name);
  }
  throw Error(unknown_name("prompt", name, known) + "; or a path with a '/'");
}

Prompt Prompt::from(const Config& reason) {
  const bool tell = reason.get<bool>("tell_decision", true);
  const auto name =
      reason.get<std::string>("prompt", tell ? "cot_default" : "cot_without_decision");
  const bool is_path = name.find_first_of("/.") != std::string::npos;
  Prompt prompt = is_path ? load(reason.directory() / name) : builtin(name);
  if (prompt.tells_decision() && !tell) {
    reason.fail("tell_decision", fmt::format("false, but the prompt {} has the slot "
                                             "'{{{{decision}}}}'; use cot_without_decision",
                                             name));
  }
  return prompt;
}

std::string Prompt::hash() const {
  return hash_hex(text_);
}

bool Prompt::tells_decision() const {
  return std::any_of(user_.begin(), user_.end(),
                     [](const Piece& piece) { return piece.slot && piece.text == "decision"; });
}

RenderedPrompt Prompt::render(const Facts& facts, int64_t max_chars) const {
  LLMCF_ASSERT(facts.decision.has_value() || !tells_decision());
  const std::string history = history_block(facts, max_chars);
  const std::string target = item_block(facts.target, max_chars);
  const auto fill = [&](const Pieces& pieces) {
    std::string text;
    for (const Piece& piece : pieces) {
      if (!piece.slot)
        text += piece.text;
      else if (piece.text == "history")
        text += history;
      else if (piece.text == "target")
        text += target;
      else if (piece.text == "decision")
        text += *facts.decision ? "the person chose the new item."
                                : "the person did not choose the new item.";
      else
        text += std::to_string(facts.history_length);
    }
    return text;
  };
  return {.system = fill(system_), .user = fill(user_)};
}

std::string input_text(const Facts& facts) {
  std::string text(facts.target.text);
  for (const ItemFacts& item : facts.history) {
    text += '\n';
    text += item.text;
  }
  return text;
}

}  // namespace llmcf::cot
