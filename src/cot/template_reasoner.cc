// Words a profile and its comparison with the target, in the four parts of the paper's prompt.
#include "cot/template_reasoner.h"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"
#include "cot/profile.h"
#include "cot/untrusted.h"

namespace llmcf::cot {

namespace {

constexpr int64_t kTitleChars = 120;
constexpr int64_t kValueChars = 60;
constexpr double kCommon = 0.5;  // a value that more of the catalogue has says nothing

std::string shown(std::string_view text, int64_t max_chars = kValueChars) {
  return neutralise(text, max_chars);
}

// "a", "a and b", "a, b and c".
std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (size_t index = 0; index < parts.size(); ++index) {
    if (index > 0) text += index + 1 == parts.size() ? " and " : ", ";
    text += parts[index];
  }
  return text;
}

std::string plural(int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string ago(int64_t age) {
  if (age == 0) return "in the latest choice";
  if (age == 1) return "one choice before the latest";
  return fmt::format("{} choices before the latest", age);
}

// Writes about one row: its chain of thought, or what is known of its user or item alone.
class Writer {
 public:
  Writer(const Facts& facts, uint64_t seed, std::string_view stream)
      : facts_(facts), random_(seed, stream), profile_(make_profile(facts)) {}

  std::string write_chain(const Parts& parts) {
    if (parts.has(Part::kProfile)) describe_profile();
    if (parts.has(Part::kTarget)) describe_target();
    compare();
    if (parts.has(Part::kAlignment)) {
      tell_comparison();
      conclude();
    }
    if (parts.has(Part::kDiversity)) judge_diversity();
    if (text_.empty()) say("There are no past choices to compare the item with.");
    return text_;
  }

  std::string write_user() {
    describe_profile();
    describe_trend();
    describe_variety();
    return text_;
  }

  std::string write_item() {
    describe_item();
    return text_;
  }

 private:
  void say(const std::string& sentence) {
    if (!text_.empty()) text_ += ' ';
    text_ += sentence;
  }
  template <size_t N>
  const char* pick(const std::array<const char*, N>& phrases) {
    return phrases[random_.below(N)];
  }

  void describe_profile();
  void describe_target();
  void compare();
  void compare_field(const AttributeValues& attribute);
  void compare_words();
  void tell_comparison();
  void conclude();
  std::optional<bool> describe_variety();
  void judge_diversity();
  void describe_trend();
  void describe_item();

  const Facts& facts_;
  Random random_;
  Profile profile_;
  std::vector<std::string> shared_;
  std::vector<std::string> missing_;
  std::string text_;
};

// "the category Shampoos (4 of 9)".
std::vector<std::string> favourites(const FieldProfile& field, int64_t items, size_t limit) {
  std::vector<std::string> names;
  for (const Tally& tally : field.tallies) {
    if (names.size() == limit) break;
    if (tally.count < 2 || tally.share > kCommon) continue;
    names.push_back(fmt::format("{} ({} of {})", shown(tally.value), tally.count, items));
  }
  return names;
}

void Writer::describe_profile() {
  if (profile_.items == 0) {
    say("There are no past choices to read a profile from.");
    return;
  }
  std::vector<std::string> habits;
  for (const FieldProfile& field : profile_.fields) {
    const auto names = favourites(field, profile_.items, 3);
    if (!names.empty()) habits.push_back(fmt::format("the {} {}", shown(field.name), join(names)));
  }
  const std::string count = plural(profile_.items, "past choice");
  if (habits.empty()) {
    say(fmt::format("{} {} no attribute twice, so the profile is still open.", count,
                    profile_.items == 1 ? "shows" : "show"));
  } else {
    say(fmt::format(fmt::runtime(pick(std::array{"Over {} this person keeps coming back to {}.",
                                                 "Across {} the profile centres on {}.",
                                                 "In {} a liking for {} stands out."})),
                    count, join(habits)));
  }
  std::vector<std::string> words;
  for (const Tally& word : profile_.words.tallies)
    if (words.size() < 5 && word.count >= 2) words.push_back(shown(word.value));
  if (!words.empty()) {
    say(fmt::format(fmt::runtime(pick(std::array{"Words such as {} recur in the titles.",
                                                 "The chosen titles often mention {}."})),
                    join(words)));
  }
  say(fmt::format(
      fmt::runtime(pick(std::array{"The latest choice was {}.", "Most recently it was {}."})),
      shown(facts_.history.back().title, kTitleChars)));
}

void Writer::describe_target() {
  std::vector<std::string> traits;
  for (const AttributeValues& attribute : facts_.target.attributes) {
    std::vector<std::string> values;
    for (const Value& value : attribute.values)
      if (values.size() < 4 && value.share <= kCommon) values.push_back(shown(value.text));
    if (!values.empty())
      traits.push_back(fmt::format("{} {}", shown(attribute.name), join(values)));
  }
  const std::string title = shown(facts_.target.title, kTitleChars);
  if (traits.empty()) {
    say(fmt::format("The new item is {}.", title));
    return;
  }
  say(fmt::format(
      fmt::runtime(pick(std::array{"The new item, {}, has {}.", "Now to {}: it belongs to {}.",
                                   "The item in question is {}, with {}."})),
      title, join(traits)));
  // Related: the rarest attribute value says what it goes with.
  const Value* closest = nullptr;
  for (const AttributeValues& attribute : facts_.target.attributes)
    if (attribute.values.size() > 1 || facts_.target.attributes.size() == 1)
      for (const Value& value : attribute.values)
        if (closest == nullptr || value.share < closest->share) closest = &value;
  if (closest != nullptr) say(fmt::format("It goes with other items of {}.", shown(closest->text)));
}

void Writer::compare_field(const AttributeValues& attribute) {
  const FieldProfile* known = profile_.find(attribute.name);
  const std::string name = shown(attribute.name);
  size_t listed = 0;
  for (const Value& value : attribute.values) {
    if (value.share > kCommon || listed == 4) continue;
    ++listed;
    const Tally* tally = known == nullptr ? nullptr : known->find(value.text);
    if (tally != nullptr) {
      shared_.push_back(fmt::format("the {} {} ({} of {} choices, last {})", name,
                                    shown(value.text), tally->count, profile_.items,
                                    ago(tally->age)));
    } else {
      missing_.push_back(fmt::format("the {} {}", name, shown(value.text)));
    }
  }
}

void Writer::compare_words() {
  std::vector<std::string> words;
  for (const Value& word : facts_.target.words) {
    const Tally* tally = profile_.words.find(word.text);
    if (tally != nullptr && words.size() < 5) words.push_back(shown(word.text));
  }
  if (!words.empty())
    shared_.push_back(
        fmt::format("the title {} {}", words.size() == 1 ? "word" : "words", join(words)));
}

void Writer::compare() {
  if (profile_.items == 0) return;
  for (const AttributeValues& attribute : facts_.target.attributes)
    compare_field(attribute);
  compare_words();
}

void Writer::tell_comparison() {
  if (profile_.items == 0) return;
  if (shared_.empty()) {
    say(pick(std::array{"Nothing in it overlaps with the profile.",
                        "It shares neither attributes nor title words with the past choices."}));
  } else {
    say(fmt::format(
        fmt::runtime(pick(std::array{"It shares with the profile {}.", "What aligns is {}.",
                                     "Profile and item meet in {}."})),
        join(shared_)));
  }
  if (!missing_.empty()) {
    say(fmt::format(
        fmt::runtime(pick(std::array{"New to this person would be {}.", "Not seen before: {}.",
                                     "What does not match is {}."})),
        join(missing_)));
  }
}

void Writer::conclude() {
  if (profile_.items == 0) return;
  const double fit = attribute_alignment(facts_);
  const size_t level = fit >= 0.45 ? 2 : fit >= 0.2 ? 1 : 0;
  static constexpr std::array kFit = {"weak", "moderate", "strong"};
  if (!facts_.decision) {
    say(fmt::format("Taken together the alignment is {}.", kFit[level]));
    return;
  }
  // [fit][0 = not chosen, 1 = chosen]
  static constexpr std::array<std::array<const char*, 2>, 3> kReasons = {{
      {"there was little in it to attract this person, and it was not chosen",
       "it was chosen all the same, so a need or curiosity beyond the habits was at work"},
      {"the common ground was not enough, and it was passed over",
       "the common ground was enough for the person to choose it"},
      {"it was still not chosen, perhaps because similar items already cover the need",
       "it continues the established taste, which is why the person chose it"},
  }};
  say(fmt::format("The alignment is {}: {}.", kFit[level],
                  kReasons[level][*facts_.decision ? 1 : 0]));
}

// Whether the person seeks variety; nothing if there is no telling.
std::optional<bool> Writer::describe_variety() {
  if (profile_.items < 2) {
    say("Too little is known to tell whether variety matters to this person.");
    return std::nullopt;
  }
  double distinct = 0;
  int64_t counted = 0;
  std::vector<std::string> parts;
  for (const FieldProfile& field : profile_.fields) {
    int64_t mentions = 0;
    for (const Tally& tally : field.tallies)
      mentions += tally.count;
    if (mentions == 0) continue;
    distinct += static_cast<double>(field.tallies.size()) / static_cast<double>(mentions);
    ++counted;
    parts.push_back(plural(static_cast<int64_t>(field.tallies.size()), "value") + " of " +
                    shown(field.name));
  }
  if (counted == 0) {
    say("Without attributes there is no telling whether variety matters to this person.");
    return std::nullopt;
  }
  const bool explores = distinct / static_cast<double>(counted) > 0.6;
  say(fmt::format(
      "With {} in {} choices this person {}.", join(parts), profile_.items,
      explores ? pick(std::array{"likes to try new things", "seeks variety"})
               : pick(std::array{"tends to stay with the familiar", "is a creature of habit"})));
  return explores;
}

void Writer::judge_diversity() {
  const std::optional<bool> explores = describe_variety();
  if (!explores) return;
  const bool brings_new = missing_.size() > shared_.size();
  say(fmt::format("The item would {}{}.",
                  brings_new ? "add something new" : "continue what is known",
                  *explores == brings_new ? ", which suits that" : ", which runs against that"));
}

// What the latest choices share, beside what the whole history favours.
void Writer::describe_trend() {
  std::vector<std::string> recent;
  for (const FieldProfile& field : profile_.fields)
    for (const Tally& tally : field.tallies)
      if (tally.age <= 1 && tally.share <= kCommon && recent.size() < 6)
        recent.push_back(fmt::format("the {} {}", shown(field.name), shown(tally.value)));
  if (!recent.empty()) {
    say(fmt::format(fmt::runtime(pick(std::array{"Lately it is {}.", "The latest choices add {}.",
                                                 "Of late the interest goes to {}."})),
                    join(recent)));
  }
}

void Writer::describe_item() {
  const std::string title = shown(facts_.target.title, kTitleChars);
  std::vector<std::string> traits;
  std::vector<const Value*> rare;
  for (const AttributeValues& attribute : facts_.target.attributes) {
    std::vector<std::string> values;
    for (const Value& value : attribute.values) {
      if (value.share > kCommon) continue;
      if (values.size() < 6) values.push_back(shown(value.text));
      rare.push_back(&value);
    }
    if (!values.empty())
      traits.push_back(fmt::format("the {} {}", shown(attribute.name), join(values)));
  }
  say(traits.empty()
          ? fmt::format("{} is an item without known attributes.", title)
          : fmt::format(fmt::runtime(pick(std::array{"{} has {}.", "{} belongs to {}."})), title,
                        join(traits)));
  std::vector<std::string> words;
  for (const Value& word : facts_.target.words)
    if (words.size() < 8) words.push_back(shown(word.text));
  if (!words.empty()) say(fmt::format("Its title speaks of {}.", join(words)));
  std::stable_sort(rare.begin(), rare.end(),
                   [](const Value* a, const Value* b) { return a->share < b->share; });
  if (rare.empty()) return;
  say(fmt::format("What sets it apart is {}, which {} of the catalogue has.",
                  shown(rare.front()->text),
                  rare.front()->share < 0.01 ? "less than 1 %"
                                             : fmt::format("{:.0f} %", 100 * rare.front()->share)));
  std::vector<std::string> related;
  for (const Value* value : rare)
    if (related.size() < 3) related.push_back(shown(value->text));
  say(fmt::format("It goes with other items of {}.", join(related)));
}

}  // namespace

std::string template_text(const Facts& facts, uint64_t seed, const Parts& parts) {
  return Writer(facts, seed, "cot.template").write_chain(parts);
}

std::string template_user_text(const Facts& facts, uint64_t seed) {
  return Writer(facts, seed, "cot.template.user").write_user();
}

std::string template_item_text(const Facts& facts, uint64_t seed) {
  return Writer(facts, seed, "cot.template.item").write_item();
}

std::string TemplateReasoner::settings() const {
  return "template/1";
}

ReasonOutcome computed_answers(const ReasonRequest& request, ChainWriter chain) {
  LLMCF_ASSERT(request.kind != JobKind::kTeach);  // verdicts are attribute_alignment()
  ReasonOutcome outcome;
  outcome.reason = "ok";
  for (int64_t candidate = 0; candidate < request.candidates; ++candidate) {
    const uint64_t seed = request.seed + static_cast<uint64_t>(candidate);
    outcome.answers.push_back(
        {.text = request.kind == JobKind::kUser   ? template_user_text(request.facts, seed)
                 : request.kind == JobKind::kItem ? template_item_text(request.facts, seed)
                                                  : chain(request.facts, seed, request.parts),
         .finish_reason = "stop",
         .usage = {}});
  }
  return outcome;
}

ReasonOutcome TemplateReasoner::attempt(const ReasonRequest& request,
                                        const std::atomic<bool>*) const {
  return computed_answers(request, template_text);
}

}  // namespace llmcf::cot
