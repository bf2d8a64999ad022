#include "data/sample_world.h"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "core/random.h"
#include "data/sample_words.h"

namespace llmcf::data {

namespace {

struct Brands {
  std::vector<std::string> names;
  std::unordered_map<std::string_view, size_t> pursuit;
};

// Dealt out evenly in a fixed shuffled order, so that neither word of a name tells the pursuit.
Brands deal_brands() {
  Brands brands;
  for (const std::string_view first : words::kBrandFirst)
    for (const std::string_view second : words::kBrandSecond)
      brands.names.push_back(fmt::format("{} {}", first, second));
  std::vector<size_t> order(brands.names.size());
  for (size_t index = 0; index < order.size(); ++index)
    order[index] = index;
  Random random(12, "sample world brands");
  random.shuffle(order);
  for (size_t index = 0; index < order.size(); ++index)
    brands.pursuit.emplace(brands.names[order[index]], index % kPursuits);
  return brands;
}

const Brands& brands() {
  static const Brands kBrands = deal_brands();
  return kBrands;
}

// The value whose wording is the longest that the title holds.
template <size_t N>
std::optional<size_t> find_value(std::string_view title,
                                 const std::array<words::Value, N>& values) {
  std::optional<size_t> best;
  size_t longest = 0;
  for (size_t value = 0; value < N; ++value)
    for (const std::string_view wording : values[value].in_title)
      if (wording.size() > longest && title.find(wording) != std::string_view::npos) {
        best = value;
        longest = wording.size();
      }
  return best;
}

}  // namespace

const std::array<Pursuit, kPursuits>& pursuits() {
  static constexpr std::array<Pursuit, kPursuits> kAll = {{
      {"open-water swimming",
       "swimmers",
       {"cold water leaves the skin tight", "lakes and the sea are hard on hair",
        "there is a long way home with wet hair"},
       1},
      {"the sauna",
       "sauna goers",
       {"heat opens the pores", "after the steam the skin wants to be cooled",
        "an evening of heat and rest asks for the right scents"},
       0},
      {"amateur theatre",
       "stage players",
       {"paint has to come off every night", "the lights are hot and the evenings long",
        "a face has to last for three acts"},
       3},
      {"ballroom dancing",
       "dancers",
       {"hair must hold through a waltz", "one stands close to a partner",
        "long nights on the floor are hard on the feet"},
       2},
      {"mountain hiking",
       "hikers",
       {"wind and sun dry out the face", "feet carry the whole day",
        "a rucksack has room for small bottles only"},
       5},
      {"camping",
       "campers",
       {"there is one tap for everybody", "smoke stays in the hair",
        "everything has to work without a mirror"},
       4},
      {"gardening",
       "gardeners",
       {"earth gets under the nails", "the sun stands over the beds for hours",
        "hands are rough by the evening"},
       7},
      {"pottery",
       "potters",
       {"clay draws the water out of the hands", "dust settles in the hair",
        "hands are washed thirty times a day"},
       6},
      {"yoga",
       "yoga people",
       {"a quiet room should smell of little", "bare feet are seen by everybody",
        "an early hour asks for something light"},
       9},
      {"long meditation",
       "meditators",
       {"sitting still wants a calm scent", "a retreat allows few things",
        "the day begins before sunrise"},
       8},
      {"working nights",
       "night workers",
       {"the face shows every missed hour of sleep", "one sleeps while the sun shines",
        "dry air blows through the ward all night"},
       11},
      {"long-haul travel",
       "frequent flyers",
       {"cabin air is drier than a desert", "bottles must be small",
        "one lands looking tired and has a meeting"},
       10},
  }};
  return kAll;
}

std::vector<std::string> world_brands() {
  return brands().names;
}

std::optional<size_t> pursuit_of_brand(std::string_view brand) {
  const auto found = brands().pursuit.find(brand);
  if (found == brands().pursuit.end()) return std::nullopt;
  return found->second;
}

TitleMeaning read_title(std::string_view title) {
  return {.traits = {find_value(title, words::kScents), find_value(title, words::kNeeds),
                     find_value(title, words::kValues)}};
}

}  // namespace llmcf::data
