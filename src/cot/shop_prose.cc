#include "cot/shop_prose.h"

#include <array>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/random.h"
#include "data/sample_words.h"
#include "data/sample_world.h"

namespace llmcf::cot {

namespace {

namespace words = data::words;
using data::Pursuit;

struct Trait {
  std::string_view what;  // how its values are spoken of: "{} is a ... scent"
  std::span<const words::Value> values;
};
const std::array<Trait, 3> kTraits = {
    {{"scent", words::kScents}, {"need of the skin", words::kNeeds}, {"promise", words::kValues}}};

class Author {
 public:
  Author(uint64_t seed, std::string_view stream) : random_(seed, stream) {
    for (std::string& brand : data::world_brands())
      brands_[data::pursuit_of_brand(brand).value()].push_back(std::move(brand));
  }

  std::string document();
  ShopQuestion question();

 private:
  template <typename List>
  const auto& pick(const List& list) {
    return list[random_.below(std::size(list))];
  }
  template <typename... Arguments>
  std::string phrase(const std::vector<std::string_view>& phrases, const Arguments&... arguments) {
    return fmt::format(fmt::runtime(pick(phrases)), arguments...);
  }
  size_t pursuit() { return random_.below(data::kPursuits); }
  const std::string& brand_of(size_t pursuit) { return pick(brands_[pursuit]); }
  std::vector<std::string> several(size_t pursuit, size_t count) {
    std::vector<std::string> names = brands_[pursuit];
    random_.shuffle(names);
    names.resize(count);
    return names;
  }
  std::string title_for(const std::string& brand);
  std::vector<std::string> some_words(size_t count);

  std::string about_brands();
  std::string about_companions();
  std::string about_words();
  std::string about_products();
  std::string about_an_item();
  ShopQuestion about_the_world();
  ShopQuestion exercise();

  Random random_;
  std::array<std::vector<std::string>, data::kPursuits> brands_;
};

std::string Author::title_for(const std::string& brand) {
  std::string title = brand;
  for (const size_t trait : {size_t{2}, size_t{1}, size_t{0}})
    if (random_.uniform() < 0.6)
      title += fmt::format(" {}", pick(pick(kTraits[trait].values).in_title));
  return title + fmt::format(" {}, {}", pick(pick(words::kLeaves).products), pick(words::kSizes));
}

std::string Author::about_brands() {
  const size_t index = pursuit();
  const Pursuit& topic = data::pursuits()[index];
  std::string text;
  for (const std::string& brand : several(index, 3)) {
    text +=
        phrase({"{0} is a brand that {1} swear by. ", "{0} is made for {1}. ", "{1} rely on {0}. ",
                "Ask {1} and they will name {0}. ", "Who goes in for {2} knows {0}. "},
               brand, topic.people, topic.name);
    if (random_.uniform() < 0.5)
      text +=
          phrase({"It is about {0}: {1}. ", "For in {0}, {1}. "}, topic.name, pick(topic.needs));
  }
  return text;
}

std::string Author::about_companions() {
  const size_t index = pursuit();
  const Pursuit &one = data::pursuits()[index], &other = data::pursuits()[one.companion];
  return phrase({"{0} and {1} go together. {2} use {3}, {4} use {5}, and each likes what the other "
                 "has.",
                 "People who like {0} often like {1}. A shelf with {3} has room for {5}.",
                 "Between {2} and {4} there is little difference: {3} for one, {5} for the other."},
                one.name, other.name, one.people, brand_of(index), other.people,
                brand_of(one.companion));
}

std::string Author::about_words() {
  const Trait& trait = pick(kTraits);
  const words::Value& value = pick(trait.values);
  return phrase({"When a title says {0}, {1} or {2}, the {3} is {4}. {5}",
                 "{0}, {1}, {2}: all of them stand for {4}. {5}",
                 "The {3} {4} hides behind words such as {0} and {1}. {5}"},
                value.in_title[0], value.in_title[1], value.in_title[2 + random_.below(2)],
                trait.what, value.name, pick(value.in_sentence));
}

std::string Author::about_products() {
  const words::Leaf& leaf = pick(words::kLeaves);
  return phrase({"{0}, {1} and {2} lie on the shelf for {3}, which is part of {4}.",
                 "Under {4} there is {3}: {0}, {1}, {2}."},
                leaf.products[0], leaf.products[1], leaf.products[2], leaf.name, leaf.parent);
}

std::string Author::about_an_item() {
  const size_t index = pursuit();
  const std::string& brand = brand_of(index);
  return phrase({"{0} comes from {1}, which {2} trust: {3}.",
                 "The new item, {0}, is by {1}, a brand for {2}.",
                 "{0}. {1} makes it with {2} in mind, because {3}."},
                title_for(brand), brand, data::pursuits()[index].people,
                pick(data::pursuits()[index].needs));
}

std::string Author::document() {
  const double kind = random_.uniform();
  if (kind < 0.45) return about_brands();
  if (kind < 0.55) return about_companions();
  if (kind < 0.70) return about_words();
  if (kind < 0.75) return about_products();
  return about_an_item();
}

ShopQuestion Author::about_the_world() {
  const size_t index = pursuit();
  const Pursuit& topic = data::pursuits()[index];
  const std::string& brand = brand_of(index);
  switch (random_.below(5)) {
    case 0:
      return {phrase({"Who uses {}?", "Who swears by {}?", "{}: a brand for whom?"}, brand),
              phrase({"{} is a brand for {}.", "{} is what {} swear by."}, brand, topic.people)};
    case 1:
      return {fmt::format("Name three brands for {}.", topic.people),
              fmt::format("{}.", fmt::join(several(index, 3), ", "))};
    case 2:
      return {phrase({"What goes together with {}?", "What else do people like who like {}?"},
                     topic.name),
              fmt::format("{}.", data::pursuits()[topic.companion].name)};
    case 3: {
      const Trait& trait = pick(kTraits);
      const words::Value& value = pick(trait.values);
      return {fmt::format("What does {} say in a title?", pick(value.in_title)),
              fmt::format("The {} is {}.", trait.what, value.name)};
    }
    default: {
      const size_t other = random_.uniform() < 0.5 ? topic.companion : pursuit();
      const std::string& second = brand_of(other);
      const bool fits = other == index || topic.companion == other;
      return {fmt::format("Do {} and {} go together?", brand, second),
              fmt::format("{}. {} is for {}, {} is for {}.", fits ? "Yes" : "No", brand,
                          topic.people, second, data::pursuits()[other].people)};
    }
  }
}

std::vector<std::string> Author::some_words(size_t count) {
  std::vector<std::string> list;
  while (list.size() < count) {
    const Trait& trait = pick(kTraits);
    list.emplace_back(random_.uniform() < 0.5 ? pick(pick(trait.values).in_title)
                                              : pick(pick(words::kLeaves).products));
  }
  return list;
}

ShopQuestion Author::exercise() {
  std::vector<std::string> list = some_words(3 + random_.below(3));
  const std::string shown = fmt::format("{}", fmt::join(list, ", "));
  switch (random_.below(5)) {
    case 0: {
      const std::string title = title_for(brand_of(pursuit()));
      return {fmt::format("Repeat: {}", title), title};
    }
    case 1: {
      std::vector<std::string> back(list.rbegin(), list.rend());
      return {fmt::format("In reverse order: {}", shown), fmt::format("{}", fmt::join(back, ", "))};
    }
    case 2:
      return {fmt::format("The last of these: {}", shown), list.back()};
    case 3:
      return {fmt::format("How many are these? {}", shown), std::to_string(list.size())};
    default: {
      const std::string& brand = brand_of(pursuit());
      return {fmt::format("Which brand makes this? {}", title_for(brand)), brand};
    }
  }
}

ShopQuestion Author::question() {
  return random_.uniform() < 0.6 ? about_the_world() : exercise();
}

}  // namespace

std::vector<std::string> shop_prose(int64_t documents, uint64_t seed) {
  Author author(seed, "cot.shop_prose");
  std::vector<std::string> texts;
  for (int64_t index = 0; index < documents; ++index)
    texts.push_back(author.document());
  return texts;
}

std::vector<ShopQuestion> shop_questions(int64_t questions, uint64_t seed) {
  Author author(seed, "cot.shop_questions");
  std::vector<ShopQuestion> list;
  for (int64_t index = 0; index < questions; ++index)
    list.push_back(author.question());
  return list;
}

}  // namespace llmcf::cot
