#include "cot/grounding.h"

#include <algorithm>
#include <array>

#include "core/strings.h"

namespace llmcf::cot {

namespace {

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80;
}

// Whether `text` (lower case) holds `phrase` between word ends.
bool states(std::string_view text, std::string_view phrase) {
  for (size_t at = text.find(phrase); at != std::string_view::npos;
       at = text.find(phrase, at + 1)) {
    const size_t end = at + phrase.size();
    if ((at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end])))
      return true;
  }
  return false;
}

void count(Stated& stated, bool found) {
  stated.share += found;
  ++stated.asked;
}

void finish(Stated& stated) {
  if (stated.asked > 0) stated.share /= static_cast<double>(stated.asked);
}

Grounding measure(const std::vector<GroundedText>& texts, size_t shift) {
  Grounding result;
  for (size_t index = 0; index < texts.size(); ++index) {
    const std::string text = to_lower(std::string(texts[index].text));
    const Facts& facts = texts[(index + shift) % texts.size()].facts;
    ++result.texts;
    for (const Value& word : facts.target.words)
      count(result.title_words, states(text, to_lower(std::string(word.text))));
    for (const AttributeValues& attribute : facts.target.attributes)
      for (const Value& value : attribute.values)
        count(result.fields[std::string(attribute.name)],
              states(text, to_lower(std::string(value.text))));
    if (!facts.decision) continue;
    const auto said = stated_decision(text);
    result.no_decision += !said;
    count(result.decision, said == facts.decision);
  }
  finish(result.title_words);
  finish(result.decision);
  for (auto& [name, stated] : result.fields)
    finish(stated);
  if (result.texts > 0) result.no_decision /= static_cast<double>(result.texts);
  return result;
}

}  // namespace

std::optional<bool> stated_decision(std::string_view text) {
  static constexpr std::array kNo = {"not choose",    "not chosen",   "not chose", "passed over",
                                     "not to choose", "did not take", "rejected",  "declined"};
  static constexpr std::array kYes = {"chose", "chosen", "choose it"};
  const auto any = [&](const auto& list) {
    return std::any_of(list.begin(), list.end(), [&](const char* phrase) {
      return text.find(phrase) != std::string_view::npos;
    });
  };
  if (any(kNo)) return false;
  if (any(kYes)) return true;
  return std::nullopt;
}

Grounding measure_grounding(const std::vector<GroundedText>& texts) {
  return measure(texts, 0);
}

Grounding measure_shuffled(const std::vector<GroundedText>& texts) {
  return measure(texts, 1);
}

}  // namespace llmcf::cot
