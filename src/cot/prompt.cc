// Reads prompt files and fills their slots.
#include "cot/prompt.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

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

// `text` with the lines of the wanted asks numbered and the others taken out; see prompt.h.
std::string resolve_asks(std::string_view text, const std::string& name, const Parts& parts) {
  constexpr std::string_view kAsk = "{{ask ", kAsks = "{{asks}}";
  std::string resolved;
  std::vector<std::string> titles;
  int64_t marked = 0, line_number = 0;
  for (size_t position = 0; position < text.size();) {
    const size_t end = std::min(text.find('\n', position), text.size() - 1) + 1;
    const std::string_view line = text.substr(position, end - position);
    position = end;
    ++line_number;
    const size_t close = line.find("}}");
    if (!line.starts_with(kAsk) || close == std::string_view::npos) {
      resolved += line;
      continue;
    }
    ++marked;
    Part part;
    try {
      part = part_named(std::string(trim(line.substr(kAsk.size(), close - kAsk.size()))));
    } catch (const Error& error) {
      throw InputError(name, line_number, error.what());
    }
    if (!parts.has(part)) continue;
    const std::string_view ask = trim(line.substr(close + 2));
    titles.push_back(to_lower(ask.substr(0, ask.find(':'))));
    resolved += fmt::format("{}. {}\n", titles.size(), ask);
  }
  if (marked == 0 && !parts.all()) {
    throw InputError(name, 0,
                     "marks no part: begin the line of each ask with {{ask profile}}, {{ask "
                     "target}}, {{ask alignment}} or {{ask diversity}}, or leave out reason.parts");
  }
  const std::string list = fmt::format("{}", fmt::join(titles, ", "));
  for (size_t at = resolved.find(kAsks); at != std::string::npos; at = resolved.find(kAsks, at))
    resolved.replace(at, kAsks.size(), list);
  return resolved;
}

struct SlotRules {
  std::vector<std::string> required;
  std::vector<std::string> forbidden;
};

SlotRules rules_of(PromptUse use) {
  switch (use) {
    case PromptUse::kUser:
      return {.required = {"history"}, .forbidden = {"target", "decision"}};
    case PromptUse::kItem:
      return {.required = {"target"}, .forbidden = {"history", "history_length", "decision"}};
    case PromptUse::kTeach:
      return {.required = {"history", "target"}, .forbidden = {"decision"}};
    case PromptUse::kRow:
      break;
  }
  return {.required = {"history", "target"}, .forbidden = {}};
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

Prompt Prompt::parse(std::string_view text, const std::string& name, const Parts& parts,
                     PromptUse use) {
  if (const auto bad = first_invalid_utf8(text)) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<int64_t>(*bad), '\n');
    throw InputError(name, line, "not valid UTF-8");
  }
  Prompt prompt;
  prompt.name_ = name;
  prompt.parts_ = parts;
  prompt.text_ = resolve_asks(text, name, parts);
  const Section system = find_section(prompt.text_, kSystemMark, name);
  const Section user = find_section(prompt.text_, kUserMark, name);
  prompt.system_ = parse_section(trim(system.body), system.first_line, name);
  prompt.user_ = parse_section(trim(user.body), user.first_line, name);
  prompt.check_slots(use, system.first_line, user.first_line);
  return prompt;
}

void Prompt::check_slots(PromptUse use, int64_t system_line, int64_t user_line) const {
  const SlotRules rules = rules_of(use);
  const auto has = [&](const std::string& slot) {
    return std::any_of(user_.begin(), user_.end(),
                       [&](const Piece& piece) { return piece.slot && piece.text == slot; });
  };
  for (const std::string& slot : rules.required) {
    if (!has(slot)) {
      throw InputError(name_, user_line,
                       fmt::format("the user section has no slot '{{{{{}}}}}'", slot));
    }
  }
  for (const std::string& slot : rules.forbidden) {
    if (has(slot)) {
      throw InputError(name_, user_line,
                       fmt::format("this kind of prompt has no '{{{{{}}}}}' to show", slot));
    }
  }
  for (const Piece& piece : system_) {
    if (piece.slot && piece.text != "history_length") {
      throw InputError(name_, system_line,
                       fmt::format("the slot '{{{{{}}}}}' belongs into the user section: the "
                                   "system section holds nothing of a row",
                                   piece.text));
    }
  }
}

Prompt Prompt::load(const std::filesystem::path& path, const Parts& parts, PromptUse use) {
  return parse(read_file(path), path.string(), parts, use);
}

Prompt Prompt::builtin(const std::string& name, const Parts& parts, PromptUse use) {
  std::vector<std::string> known;
  for (const auto& [prompt_name, text] : builtin_prompts()) {
    if (prompt_name == name) return parse(text, name, parts, use);
    known.push_back(prompt_name);
  }
  throw Error(unknown_name("prompt", name, known) + "; or a path with a '/'");
}

Prompt Prompt::from(const Config& reason) {
  const bool tell = reason.get<bool>("tell_decision", true);
  const auto name =
      reason.get<std::string>("prompt", tell ? "cot_default" : "cot_without_decision");
  const Parts parts = Parts::from(reason);
  const bool is_path = name.find_first_of("/.") != std::string::npos;
  Prompt prompt = is_path ? load(reason.directory() / name, parts) : builtin(name, parts);
  if (prompt.tells_decision() && !tell) {
    reason.fail("tell_decision", fmt::format("false, but the prompt {} has the slot "
                                             "'{{{{decision}}}}'; use cot_without_decision",
                                             name));
  }
  return prompt;
}

Prompt Prompt::from(const Config& section, const std::string& key, const std::string& fallback,
                    PromptUse use) {
  const auto name = section.get<std::string>(key, fallback);
  const bool is_path = name.find_first_of("/.") != std::string::npos;
  return is_path ? load(section.directory() / name, {}, use) : builtin(name, {}, use);
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
