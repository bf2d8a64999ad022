#include "data/sample.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "core/strings.h"
#include "data/sample_words.h"
#include "data/sample_world.h"

namespace llmcf::data {

namespace {

constexpr int64_t kStart = 1640995200;  // 2022-01-01
constexpr int64_t kDay = 86400;
constexpr int64_t kDays = 730;
constexpr size_t kTraits = 3;

// How much likelier an item is for each trait that meets the user's taste, or their dislike.
constexpr double kLiked = 8.0;
constexpr double kDisliked = 0.25;

size_t values_of(size_t trait) {
  return trait == 0   ? words::kScents.size()
         : trait == 1 ? words::kNeeds.size()
                      : words::kValues.size();
}

const words::Value& value_of(size_t trait, size_t value) {
  return trait == 0   ? words::kScents[value]
         : trait == 1 ? words::kNeeds[value]
                      : words::kValues[value];
}

template <size_t N>
std::string_view pick(const std::array<std::string_view, N>& from, Random& random) {
  return from[random.below(N)];
}

struct Brand {
  std::string name;
  size_t pursuit = 0;
  std::array<size_t, kTraits> house;  // what most of its products are like
};

struct Item {
  size_t leaf = 0;
  size_t brand = 0;
  std::array<size_t, kTraits> traits{};
  double popularity = 1;
  int64_t launch = 0;  // Unix seconds
  std::string title;
  std::string description;
};

struct User {
  std::vector<double> interest;  // by leaf
  std::array<size_t, kTraits> likes{};
  std::array<size_t, kTraits> dislikes{};
  std::array<bool, kPursuits> pursues{};
};

struct Purchase {
  int64_t time;
  int64_t user;
  int64_t item;
};

class Shop {
 public:
  explicit Shop(const SampleOptions& options) : options_(options) {
    make_brands();
    make_items();
    for (int64_t user = 0; user < options_.users; ++user)
      buy(user);
    std::stable_sort(purchases_.begin(), purchases_.end(),
                     [](const Purchase& a, const Purchase& b) { return a.time < b.time; });
  }

  void write(const std::filesystem::path& directory) const;

 private:
  Random stream(std::string_view name) const {
    return {static_cast<uint64_t>(options_.seed), fmt::format("sample.{}", name)};
  }

  void make_brands() {
    Random random = stream("brands");
    const auto most = words::kBrandFirst.size() * words::kBrandSecond.size();
    const auto wanted =
        static_cast<size_t>(static_cast<double>(options_.items) / options_.items_per_brand);
    const auto count = std::clamp<size_t>(wanted, 4, most);
    std::vector<size_t> order(most);
    for (size_t index = 0; index < most; ++index)
      order[index] = index;
    random.shuffle(order);
    for (size_t index = 0; index < count; ++index) {
      const size_t first = order[index] / words::kBrandSecond.size();
      const size_t second = order[index] % words::kBrandSecond.size();
      Brand brand;
      brand.name = fmt::format("{} {}", words::kBrandFirst[first], words::kBrandSecond[second]);
      brand.pursuit = pursuit_of_brand(brand.name).value();
      for (size_t trait = 0; trait < kTraits; ++trait)
        brand.house[trait] = random.below(values_of(trait));
      brands_.push_back(std::move(brand));
    }
  }

  // Popularity follows Zipf's law over a random order; `cold_share` of the items come late.
  void make_items() {
    Random random = stream("items");
    std::vector<size_t> rank(static_cast<size_t>(options_.items));
    for (size_t index = 0; index < rank.size(); ++index)
      rank[index] = index;
    random.shuffle(rank);
    by_leaf_.resize(words::kLeaves.size());
    for (size_t index = 0; index < rank.size(); ++index) {
      Item item;
      item.leaf = index < words::kLeaves.size() ? index : random.below(words::kLeaves.size());
      item.brand = random.below(brands_.size());
      for (size_t trait = 0; trait < kTraits; ++trait) {
        const bool house = random.uniform() < 0.35;
        item.traits[trait] =
            house ? brands_[item.brand].house[trait] : random.below(values_of(trait));
      }
      item.popularity = 1.0 / std::pow(static_cast<double>(rank[index]) + 10.0, 0.8);
      item.launch = launch_time(random);
      name_item(item, random);
      by_leaf_[item.leaf].push_back(index);
      items_.push_back(std::move(item));
    }
  }

  int64_t launch_time(Random& random) const {
    if (random.uniform() < options_.cold_share)
      return kStart + static_cast<int64_t>(random.uniform(0.75, 0.98) * kDays) * kDay;
    if (random.uniform() < 0.6) return 0;
    return kStart + static_cast<int64_t>(random.uniform(0, 0.75) * kDays) * kDay;
  }

  // The title shows most traits, the description all of them.
  void name_item(Item& item, Random& random) {
    const std::string& brand = brands_[item.brand].name;
    const words::Leaf& leaf = words::kLeaves[item.leaf];
    const std::string_view product = pick(leaf.products, random);
    for (int attempt = 0;; ++attempt) {
      std::string title = brand;
      for (const size_t trait : {size_t{2}, size_t{1}, size_t{0}}) {
        const std::string_view wording = pick(value_of(trait, item.traits[trait]).in_title, random);
        if (attempt > 3 || random.uniform() < 0.65) title += fmt::format(" {}", wording);
      }
      title += fmt::format(" {}, {}", product, pick(words::kSizes, random));
      if (attempt > 20) title += fmt::format(" (No. {})", items_.size() + 1);
      if (!titles_.insert(title).second) continue;
      item.title = std::move(title);
      break;
    }
    item.description = fmt::format(fmt::runtime(pick(words::kOpenings, random)), product, brand);
    std::array<size_t, kTraits> order = {0, 1, 2};
    random.shuffle(std::span<size_t>(order));
    for (const size_t trait : order)
      item.description +=
          fmt::format(" {}", pick(value_of(trait, item.traits[trait]).in_sentence, random));
  }

  User make_user(Random& random) const {
    User user;
    user.interest.assign(words::kLeaves.size(), 0.05);
    const uint64_t favourites = 3 + random.below(4);
    for (uint64_t index = 0; index < favourites; ++index)
      user.interest[random.below(words::kLeaves.size())] += random.uniform(0.3, 1.0);
    for (size_t trait = 0; trait < kTraits; ++trait) {
      user.likes[trait] = random.below(values_of(trait));
      user.dislikes[trait] =
          (user.likes[trait] + 1 + random.below(values_of(trait) - 1)) % values_of(trait);
    }
    return user;
  }

  // One pursuit, and for most people the one that goes with it.
  void give_pursuit(User& user, int64_t number) const {
    if (options_.pursuit == 1) return;
    Random random = stream(fmt::format("pursuit.{}", number));
    const uint64_t pursuit = random.below(kPursuits);
    user.pursues[pursuit] = true;
    if (random.uniform() < 0.7) user.pursues[pursuits()[pursuit].companion] = true;
  }

  // Twice the usual demand in the peak month, half of it six months away.
  static double season(const words::Leaf& leaf, int64_t time) {
    if (leaf.peak_month == 0) return 1.0;
    const int64_t day = (time - kStart) / kDay;
    const double year = static_cast<double>(day) / 365.0;
    const double peak = (leaf.peak_month - 0.5) / 12.0;
    return std::exp2(std::cos(2 * 3.14159265358979 * (year - peak)));
  }

  double appeal(const User& user, const Item& item) const {
    double weight = item.popularity;
    for (size_t trait = 0; trait < kTraits; ++trait) {
      if (item.traits[trait] == user.likes[trait]) weight *= kLiked;
      if (item.traits[trait] == user.dislikes[trait]) weight *= kDisliked;
    }
    if (user.pursues[brands_[item.brand].pursuit]) weight *= options_.pursuit;
    return weight;
  }

  int64_t purchases_of(Random& random) const {
    const double extra = std::max(0.0, options_.events_per_user - 5);
    const auto more = static_cast<int64_t>(-std::log(1 - random.uniform()) * (extra + 0.5));
    return std::min({5 + more, options_.items, int64_t{300}});
  }

  // The whole life of one user; depends on the seed and the user's number only.
  void buy(int64_t number) {
    Random random = stream(fmt::format("user.{}", number));
    User user = make_user(random);
    give_pursuit(user, number);
    const int64_t count = purchases_of(random);
    std::vector<double> spread;
    const double joined = random.uniform(0, 0.6);
    for (int64_t index = 0; index < count; ++index)
      spread.push_back(random.uniform(joined, 1.0));
    std::sort(spread.begin(), spread.end());
    std::set<size_t> owned;
    int64_t last = 0;
    for (const double moment : spread) {
      const int64_t time =
          std::max(last + 60, kStart + static_cast<int64_t>(moment * double(kDays * kDay)));
      const auto item = choose(user, time, owned, random);
      if (!item) continue;
      owned.insert(*item);
      last = time;
      purchases_.push_back({time, number, static_cast<int64_t>(*item)});
    }
  }

  std::optional<size_t> choose(const User& user, int64_t time, const std::set<size_t>& owned,
                               Random& random) const {
    std::vector<double> weights(words::kLeaves.size());
    for (size_t leaf = 0; leaf < weights.size(); ++leaf)
      weights[leaf] = user.interest[leaf] * season(words::kLeaves[leaf], time);
    for (int attempt = 0; attempt < 50; ++attempt) {
      const std::vector<size_t>& shelf = by_leaf_[random.weighted(weights)];
      std::vector<double> appeals(shelf.size(), 0);
      double total = 0;
      for (size_t index = 0; index < shelf.size(); ++index) {
        const Item& item = items_[shelf[index]];
        if (item.launch > time || owned.contains(shelf[index])) continue;
        total += appeals[index] = appeal(user, item);
      }
      if (total > 0) return shelf[random.weighted(appeals)];
    }
    return std::nullopt;
  }

  std::string pursuit_note() const {
    if (options_.pursuit == 1) return "";
    return fmt::format(
        "\n\nEvery user follows one of {} pursuits, most of them also the one that goes with it, "
        "and\n"
        "is {} times as likely to buy a brand that its people swear by. Nothing here says which\n"
        "brands these are: only texts about this world do.",
        kPursuits, options_.pursuit);
  }

  SampleOptions options_;
  std::vector<Brand> brands_;
  std::vector<Item> items_;
  std::vector<std::vector<size_t>> by_leaf_;
  std::set<std::string> titles_;
  std::vector<Purchase> purchases_;
};

constexpr std::string_view kSchema =
    R"(# How `format: table` reads this shop; see docs/data.md of llmcf.
interactions:
  file: interactions.tsv
  user: user_id
  item: item_id
  time: bought_at
  time_format: iso8601
items:
  file: items.tsv
  item: item_id
  title: title
fields:
  - {name: brand, kind: categorical}
  - {name: category, kind: multi_categorical, source: categories, paths: true}
  - {name: description, kind: text}
)";

std::string iso_time(int64_t time) {
  const int64_t days = time / kDay;
  const int64_t seconds = time % kDay;
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", int(date.year()),
                     unsigned(date.month()), unsigned(date.day()), seconds / 3600,
                     seconds / 60 % 60, seconds % 60);
}

void Shop::write(const std::filesystem::path& directory) const {
  AtomicFile items(directory / "items.tsv");
  items.write("item_id\ttitle\tbrand\tcategories\tdescription\n");
  for (size_t index = 0; index < items_.size(); ++index) {
    const Item& item = items_[index];
    const words::Leaf& leaf = words::kLeaves[item.leaf];
    items.write(fmt::format("I{:05}\t{}\t{}\t{} > {}\t{}\n", index + 1, item.title,
                            brands_[item.brand].name, leaf.parent, leaf.name, item.description));
  }
  items.commit();
  AtomicFile interactions(directory / "interactions.tsv");
  interactions.write("user_id\titem_id\tbought_at\n");
  for (const Purchase& purchase : purchases_) {
    interactions.write(fmt::format("U{:05}\tI{:05}\t{}\n", purchase.user + 1, purchase.item + 1,
                                   iso_time(purchase.time)));
  }
  interactions.commit();
  write_file(directory / "schema.yaml", kSchema);
  write_file(
      directory / "README.txt",
      fmt::format(
          "A synthetic cosmetics shop made by `llmcf sample`. Nobody bought any of this.\n\n"
          "{} users, {} items, {} purchases in 2022 and 2023; seed {}.\n\n"
          "Every user likes one scent, one skin need and one kind of brand promise, and dislikes\n"
          "another of each. No column holds them: they are words in titles and descriptions\n"
          "(\"Bergamot\", \"peeled citrus fruit\"). An item that meets a taste is {} times as "
          "likely\n"
          "to be bought, times {} for a dislike; besides count category interest, season and\n"
          "popularity (Zipf). {:.0f} % of the items are launched in the last quarter.{}\n",
          with_commas(options_.users), with_commas(options_.items),
          with_commas(static_cast<int64_t>(purchases_.size())), options_.seed, kLiked, kDisliked,
          options_.cold_share * 100, pursuit_note()));
}

}  // namespace

SampleOptions SampleOptions::from(const Config& config) {
  SampleOptions options;
  options.users = config.get_int("users", options.users, 1, 100'000'000);
  options.items = config.get_int("items", options.items, 1, 100'000'000);
  options.events_per_user = config.get_number("events_per_user", options.events_per_user, 5, 300);
  options.cold_share = config.get_number("cold_share", options.cold_share, 0, 0.9);
  options.items_per_brand = config.get_number("items_per_brand", options.items_per_brand, 1, 1e6);
  options.pursuit = config.get_number("pursuit", options.pursuit, 1, 1000);
  options.seed = config.get_int("seed", options.seed, 0, INT64_MAX);
  config.finish();
  return options;
}

void write_sample(const SampleOptions& options, const std::filesystem::path& directory) {
  if (options.users < 1 || options.items < static_cast<int64_t>(words::kLeaves.size())) {
    throw Error(fmt::format("a sample shop needs at least 1 user and {} items, not {} and {}",
                            words::kLeaves.size(), options.users, options.items));
  }
  Shop(options).write(directory);
}

}  // namespace llmcf::data
