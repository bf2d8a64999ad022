// Counts what a history favours; attribute_alignment() compares a target with it.
#include "cot/profile.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "cot/template_reasoner.h"

namespace llmcf::cot {

namespace {

constexpr double kRecency = 0.9;  // weight of a choice per choice made after it

// Counts values over the history, latest item first, so that the first sight is the latest.
class Counter {
 public:
  explicit Counter(std::string_view name) { profile_.name = name; }

  void add(const Value& value, int64_t age, double weight) {
    const auto [entry, is_new] = ids_.emplace(value.text, profile_.tallies.size());
    if (is_new) {
      profile_.tallies.push_back(
          {.value = value.text, .count = 0, .age = age, .share = value.share, .weight = 0});
    }
    Tally& tally = profile_.tallies[entry->second];
    ++tally.count;
    tally.weight += weight;
  }

  std::string_view name() const { return profile_.name; }

  FieldProfile finish() {
    std::stable_sort(profile_.tallies.begin(), profile_.tallies.end(),
                     [](const Tally& a, const Tally& b) { return telling(a) > telling(b); });
    return std::move(profile_);
  }

 private:
  static double telling(const Tally& tally) {
    return static_cast<double>(tally.count) * (0.05 + rarity(tally.share));
  }

  FieldProfile profile_;
  std::unordered_map<std::string_view, size_t> ids_;
};

Counter& counter_of(std::vector<Counter>& counters, std::string_view name) {
  for (Counter& counter : counters)
    if (counter.name() == name) return counter;
  counters.emplace_back(name);
  return counters.back();
}

// Rarity-weighted mean over `values` of how present each is in the history.
std::optional<double> overlap(const std::vector<Value>& values, const FieldProfile* profile) {
  double sum = 0;
  double weights = 0;
  for (const Value& value : values) {
    const double weight = rarity(value.share);
    weights += weight;
    const Tally* tally = profile == nullptr ? nullptr : profile->find(value.text);
    if (tally != nullptr) sum += weight * std::sqrt(std::min(tally->weight, 1.0));
  }
  if (weights <= 0) return std::nullopt;
  return sum / weights;
}

}  // namespace

double rarity(double share) {
  return std::clamp(-std::log(std::max(share, 1e-9)) / std::log(1000.0), 0.0, 1.0);
}

const Tally* FieldProfile::find(std::string_view value) const {
  for (const Tally& tally : tallies)
    if (tally.value == value) return &tally;
  return nullptr;
}

const FieldProfile* Profile::find(std::string_view field) const {
  for (const FieldProfile& candidate : fields)
    if (candidate.name == field) return &candidate;
  return nullptr;
}

Profile make_profile(const Facts& facts) {
  Profile profile;
  profile.items = static_cast<int64_t>(facts.history.size());
  std::vector<Counter> counters;
  Counter words("");
  double total = 0;
  for (int64_t age = 0; age < profile.items; ++age)
    total += std::pow(kRecency, static_cast<double>(age));
  for (int64_t age = 0; age < profile.items; ++age) {
    const ItemFacts& item = facts.history[static_cast<size_t>(profile.items - 1 - age)];
    const double weight = std::pow(kRecency, static_cast<double>(age)) / total;
    for (const AttributeValues& attribute : item.attributes)
      for (const Value& value : attribute.values)
        counter_of(counters, attribute.name).add(value, age, weight);
    for (const Value& word : item.words)
      words.add(word, age, weight);
  }
  for (Counter& counter : counters)
    profile.fields.push_back(counter.finish());
  profile.words = words.finish();
  return profile;
}

double attribute_alignment(const Facts& facts) {
  if (facts.history.empty()) return 0;
  const Profile profile = make_profile(facts);
  double sum = 0;
  int64_t terms = 0;
  const auto add = [&](const std::optional<double>& term) {
    if (!term) return;
    sum += *term;
    ++terms;
  };
  for (const AttributeValues& attribute : facts.target.attributes)
    add(overlap(attribute.values, profile.find(attribute.name)));
  add(overlap(facts.target.words, &profile.words));
  return terms == 0 ? 0 : std::clamp(sum / static_cast<double>(terms), 0.0, 1.0);
}

}  // namespace llmcf::cot
