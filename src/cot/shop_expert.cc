#include "cot/shop_expert.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/random.h"
#include "cot/template_reasoner.h"
#include "cot/untrusted.h"
#include "data/sample_words.h"

namespace llmcf::cot {

namespace {

namespace words = data::words;

constexpr int64_t kTitleChars = 120;

// How people speak of the values of a trait, by index of sample_words.h.
constexpr std::array<std::string_view, words::kScents.size()> kScentNames = {
    "lavender scents", "citrus scents", "vanilla scents", "rose scents",
    "woody scents",    "mint",          "coconut",        "things without scent"};
constexpr std::array<std::string_view, words::kNeeds.size()> kNeedNames = {
    "dry skin", "oily skin", "sensitive skin", "mature skin", "active days", "tired skin"};
constexpr std::array<std::string_view, words::kValues.size()> kPromiseNames = {
    "organic goods", "luxury", "clinical formulas", "low prices", "playful packaging"};

std::string_view name_of(size_t trait, size_t value) {
  return trait == 0 ? kScentNames[value] : trait == 1 ? kNeedNames[value] : kPromiseNames[value];
}

std::string_view brand_of(const ItemFacts& item) {
  for (const AttributeValues& attribute : item.attributes)
    if (attribute.name == "brand" && !attribute.values.empty()) return attribute.values[0].text;
  return {};
}

std::optional<size_t> pursuit_of(const ItemFacts& item) {
  return data::pursuit_of_brand(brand_of(item));
}

bool go_together(size_t a, size_t b) {
  return a == b || data::pursuits()[a].companion == b;
}

std::string capital(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (size_t index = 0; index < parts.size(); ++index)
    text += (index == 0 ? "" : index + 1 == parts.size() ? " and " : ", ") + parts[index];
  return text;
}

class Writer {
 public:
  Writer(const Facts& facts, uint64_t seed)
      : facts_(facts), random_(seed, "cot.shop_expert"), reading_(read_history(facts)) {}

  std::string write(const Parts& parts) {
    if (parts.has(Part::kProfile)) describe_profile();
    if (parts.has(Part::kTarget)) describe_target();
    if (parts.has(Part::kAlignment)) compare();
    if (parts.has(Part::kDiversity)) judge_diversity();
    return text_;
  }

 private:
  template <typename... Arguments>
  void say(const std::vector<std::string_view>& phrases, const Arguments&... arguments) {
    if (!text_.empty()) text_ += ' ';
    text_ +=
        capital(fmt::format(fmt::runtime(phrases[random_.below(phrases.size())]), arguments...));
  }

  void describe_profile();
  void describe_target();
  void compare();
  void judge_diversity();
  std::vector<std::string> brands_of(size_t pursuit) const;

  const Facts& facts_;
  Random random_;
  ShopReading reading_;
  std::string text_;
};

// The latest first, at most three, of the pursuit or its companion.
std::vector<std::string> Writer::brands_of(size_t pursuit) const {
  std::vector<std::string> brands;
  for (auto item = facts_.history.rbegin(); item != facts_.history.rend(); ++item) {
    const auto of = pursuit_of(*item);
    std::string brand(brand_of(*item));
    if (of && go_together(*of, pursuit) && brands.size() < 3 &&
        std::find(brands.begin(), brands.end(), brand) == brands.end())
      brands.push_back(std::move(brand));
  }
  return brands;
}

void Writer::describe_profile() {
  if (facts_.history.empty()) {
    say({"nothing is known of this person yet."});
    return;
  }
  if (reading_.pursuit) {
    const data::Pursuit& pursuit = data::pursuits()[*reading_.pursuit];
    say({"{0} are brands that {1} swear by, so this person goes in for {2}.",
         "this person goes in for {2}: {0} are brands of {1}.",
         "with {0}, brands of {1}, the choices speak of {2}."},
        join(brands_of(*reading_.pursuit)), pursuit.people, pursuit.name);
  } else {
    say({"no pursuit stands out among the brands.", "the brands speak of no single pursuit."});
  }
  std::vector<std::string> tastes;
  for (size_t trait = 0; trait < 3; ++trait)
    if (reading_.favourites[trait])
      tastes.emplace_back(name_of(trait, *reading_.favourites[trait]));
  if (!tastes.empty())
    say({"the titles keep coming back to {}.", "the taste runs to {}.",
         "a liking for {} stands out."},
        join(tastes));
}

void Writer::describe_target() {
  const std::string title = neutralise(facts_.target.title, kTitleChars);
  if (const auto of = pursuit_of(facts_.target)) {
    const data::Pursuit& pursuit = data::pursuits()[*of];
    say({"the new item, {0}, is by {1}, a brand for {2}: {3}.",
         "now {0}: {1} is a brand of {2}, because {3}.",
         "{0} comes from {1}, which {2} trust: {3}."},
        title, brand_of(facts_.target), pursuit.people,
        pursuit.needs[random_.below(pursuit.needs.size())]);
  } else {
    say({"the new item is {}."}, title);
  }
  std::vector<std::string> traits;
  const auto meaning = data::read_title(facts_.target.title);
  for (size_t trait = 0; trait < 3; ++trait)
    if (meaning.traits[trait]) traits.emplace_back(name_of(trait, *meaning.traits[trait]));
  if (!traits.empty()) say({"it stands for {}.", "its title promises {}."}, join(traits));
}

void Writer::compare() {
  const auto of = pursuit_of(facts_.target);
  if (of && reading_.pursuit) {
    const data::Pursuit &known = data::pursuits()[*reading_.pursuit], &here = data::pursuits()[*of];
    if (*of == *reading_.pursuit) {
      say({"that is the same pursuit, {0}.", "{0} again, so the brand fits."}, here.name);
    } else if (go_together(*of, *reading_.pursuit)) {
      say({"{0} and {1} go together, so the brand fits.", "people who like {1} often like {0}."},
          here.name, known.name);
    } else {
      say({"{0} has nothing to do with {1}.", "the brand is for {0}, not for {1}."}, here.name,
          known.name);
    }
  }
  std::vector<std::string> fits, misses;
  const auto meaning = data::read_title(facts_.target.title);
  for (size_t trait = 0; trait < 3; ++trait)
    if (meaning.traits[trait] && reading_.favourites[trait])
      (*meaning.traits[trait] == *reading_.favourites[trait] ? fits : misses)
          .emplace_back(name_of(trait, *meaning.traits[trait]));
  if (!fits.empty()) say({"what fits the taste: {}.", "the taste is met with {}."}, join(fits));
  if (!misses.empty()) say({"what is foreign to it: {}.", "not to this taste: {}."}, join(misses));
  const double match = shop_match(reading_, facts_.target);
  const std::string_view level = match >= 0.5 ? "strong" : match >= 0.25 ? "fair" : "weak";
  if (!facts_.decision) {
    say({"all in all the match is {}.", "taken together it is a {} match."}, level);
  } else if (*facts_.decision) {
    say({"the match is {}, and the person chose it.", "a {} match, and it was chosen."}, level);
  } else {
    say({"the match is {}, and the person did not choose it.", "a {} match; it was not chosen."},
        level);
  }
}

void Writer::judge_diversity() {
  if (facts_.history.size() < 2) return;
  std::vector<std::string_view> brands;
  for (const ItemFacts& item : facts_.history)
    if (std::find(brands.begin(), brands.end(), brand_of(item)) == brands.end())
      brands.push_back(brand_of(item));
  const bool known =
      std::find(brands.begin(), brands.end(), brand_of(facts_.target)) != brands.end();
  const bool explores = brands.size() * 5 > facts_.history.size() * 4;
  if (known)
    say({"{0} is known here already.", "they have had {0} before."}, brand_of(facts_.target));
  if (explores)
    say({"this person likes to try new brands.", "new brands are welcome."});
  else
    say({"this person stays with the brands they know.", "the familiar comes first."});
}

}  // namespace

ShopReading read_history(const Facts& facts) {
  ShopReading reading;
  std::array<double, data::kPursuits> votes{};
  std::array<std::array<int64_t, 8>, 3> counts{};
  for (const ItemFacts& item : facts.history) {
    if (const auto pursuit = pursuit_of(item)) {
      votes[*pursuit] += 1;
      votes[data::pursuits()[*pursuit].companion] += 0.9;  // of two alike, the one bought more
    }
    const auto meaning = data::read_title(item.title);
    for (size_t trait = 0; trait < 3; ++trait)
      if (meaning.traits[trait]) ++counts[trait][*meaning.traits[trait]];
  }
  const auto most = std::max_element(votes.begin(), votes.end());
  if (*most >= 1.9) reading.pursuit = static_cast<size_t>(most - votes.begin());
  for (size_t trait = 0; trait < 3; ++trait) {
    const auto best = std::max_element(counts[trait].begin(), counts[trait].end());
    if (*best >= 2) reading.favourites[trait] = static_cast<size_t>(best - counts[trait].begin());
  }
  return reading;
}

double shop_match(const ShopReading& reading, const ItemFacts& item) {
  const auto of = pursuit_of(item);
  double match = of && reading.pursuit && go_together(*of, *reading.pursuit) ? 0.4 : 0;
  const auto meaning = data::read_title(item.title);
  for (size_t trait = 0; trait < 3; ++trait)
    if (meaning.traits[trait] && meaning.traits[trait] == reading.favourites[trait]) match += 0.2;
  return match;
}

std::string shop_expert_text(const Facts& facts, uint64_t seed, const Parts& parts) {
  return Writer(facts, seed).write(parts);
}

ReasonOutcome ShopExpert::attempt(const ReasonRequest& request, const std::atomic<bool>*) const {
  return computed_answers(request, shop_expert_text);  // of users and items apart it knows no more
}

}  // namespace llmcf::cot
