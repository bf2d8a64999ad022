// Small random worlds for the tests of retrieval: texts, histories, a pool and queries, with many
// ties, and the search written down naively.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "core/random.h"
#include "retrieval/assign.h"

namespace llmcf::retrieval::testing {

struct Columns {
  std::vector<int32_t> user, item, position;
  std::vector<float> label;
  std::vector<int64_t> time;

  void add(int32_t u, int32_t i, int32_t p, float l, int64_t t) {
    user.push_back(u);
    item.push_back(i);
    position.push_back(p);
    label.push_back(l);
    time.push_back(t);
  }
  Pool pool() const {
    return {.user = user, .item = item, .position = position, .label = label, .time = time};
  }
  Queries queries() const {
    return {.user = user, .item = item, .position = position, .time = time};
  }
};

struct WorldSize {
  int64_t users = 12;
  int64_t items = 20;
  int64_t width = 8;
  int64_t longest = 10;  // history
  int64_t examples = 150;
  int64_t queries = 60;
  int64_t days = 8;
  double positive_share = 0.5;
};

// Users share few items and days, so that users, histories, targets, times and scores all collide.
struct World {
  int64_t width = 0;
  std::vector<float> text;
  std::vector<std::vector<int32_t>> items;  // by user
  std::vector<std::vector<int64_t>> times;  // by user and position, ascending
  Columns examples;
  Columns rows;

  World(const WorldSize& size, uint64_t seed) : width(size.width) {
    Random random(seed, "tests.retrieval");
    make_texts(size, random);
    items.resize(static_cast<size_t>(size.users + 1));
    times.resize(static_cast<size_t>(size.users + 1));
    for (size_t user = 1; user < items.size(); ++user) {
      for (int64_t p = 0; p < size.longest; ++p) {
        items[user].push_back(
            static_cast<int32_t>(1 + random.below(static_cast<uint64_t>(size.items))));
        times[user].push_back(static_cast<int64_t>(random.below(static_cast<uint64_t>(size.days))));
      }
      std::sort(times[user].begin(), times[user].end());
    }
    for (int64_t i = 0; i < size.examples; ++i)
      add_row(examples, size, random);
    for (int64_t i = 0; i < size.queries; ++i)
      add_row(rows, size, random);
  }

  Texts texts() const { return {.item_text = text, .width = width}; }
  HistoryLookup histories() const {
    return [this](int32_t user, int32_t position) {
      return std::span(items[static_cast<size_t>(user)]).first(static_cast<size_t>(position));
    };
  }

 private:
  void make_texts(const WorldSize& size, Random& random) {
    text.assign(static_cast<size_t>((size.items + 1) * width), 0.0F);
    for (int64_t item = 1; item <= size.items; ++item) {
      if (item % 7 == 3) continue;  // nothing known about this one
      float* row = text.data() + item * width;
      double norm = 0;
      for (int64_t k = 0; k < width; ++k) {
        row[k] = static_cast<float>(random.normal());
        norm += row[k] * row[k];
      }
      for (int64_t k = 0; k < width; ++k)
        row[k] /= static_cast<float>(std::sqrt(norm));
      if (item % 5 == 0) std::copy(row - width, row, row);  // a duplicate
    }
  }

  void add_row(Columns& columns, const WorldSize& size, Random& random) const {
    const auto user = static_cast<int32_t>(1 + random.below(static_cast<uint64_t>(size.users)));
    const auto position = static_cast<int32_t>(random.below(static_cast<uint64_t>(size.longest)));
    const auto item = static_cast<int32_t>(random.below(static_cast<uint64_t>(size.items + 1)));
    const float label = random.uniform() < size.positive_share ? 1.0F : 0.0F;
    columns.add(user, item, position, label,
                times[static_cast<size_t>(user)][static_cast<size_t>(position)]);
  }
};

// One chain of fused multiply-adds, as kernels.h promises.
inline float chain_dot(const float* a, const float* b, int64_t width) {
  float sum = 0;
  for (int64_t k = 0; k < width; ++k)
    sum = __builtin_cpu_supports("fma") ? std::fma(a[k], b[k], sum) : sum + a[k] * b[k];
  return sum;
}

struct Scored {
  float score;
  int64_t time;
  int32_t id;
};

// The rules of options.h, one by one.
inline bool eligible(const Pool& pool, size_t c, const Queries& queries, size_t q,
                     const RetrievalOptions& options) {
  const bool own = pool.user[c] == queries.user[q];
  if (own && pool.position[c] > queries.position[q]) return false;
  if (options.exclude_self && own && pool.position[c] == queries.position[q]) return false;
  if (options.time_safe && pool.time[c] >= queries.time[q]) return false;
  return !(options.time_safe && own && pool.position[c] >= queries.position[q]);
}

// Scores everything, sorts everything, and takes what is wanted; order similar_last.
inline Assignment naive_assign(const World& world, const RetrievalOptions& options) {
  const Pool pool = world.examples.pool();
  const Queries queries = world.rows.queries();
  const int64_t width = world.width;
  std::vector<float> hq(queries.user.size() * static_cast<size_t>(width));
  std::vector<float> hc(pool.user.size() * static_cast<size_t>(width));
  history_mean(world.histories(), world.texts(), queries.user, queries.position, 0, hq);
  history_mean(world.histories(), world.texts(), pool.user, pool.position, 0, hc);
  if (options.normalize) {
    scale_rows_to_unit(hq, width);
    scale_rows_to_unit(hc, width);
  }
  const auto weight = static_cast<float>(options.history_weight);

  Assignment result{.rows = queries.size(),
                    .k = options.k,
                    .ids = {},
                    .similarity = {},
                    .history_similarity = {},
                    .target_similarity = {}};
  for (size_t q = 0; q < queries.user.size(); ++q) {
    std::vector<Scored> chosen;
    for (const bool positive : {true, false}) {
      std::vector<Scored> all;
      for (size_t c = 0; c < pool.user.size(); ++c) {
        if ((pool.label[c] >= 0.5F) != positive || !eligible(pool, c, queries, q, options))
          continue;
        const float history = weight * chain_dot(&hq[q * static_cast<size_t>(width)],
                                                 &hc[c * static_cast<size_t>(width)], width);
        const float target =
            (1.0F - weight) * chain_dot(world.texts().row(queries.item[q]).data(),
                                        world.texts().row(pool.item[c]).data(), width);
        const float score = history + target;
        if (score >= static_cast<float>(options.min_similarity))
          all.push_back({score, pool.time[c], static_cast<int32_t>(c)});
      }
      std::sort(all.begin(), all.end(), [](const Scored& l, const Scored& r) {
        if (l.score != r.score) return l.score > r.score;
        return l.time != r.time ? l.time > r.time : l.id < r.id;
      });
      const auto wanted =
          static_cast<size_t>(positive ? options.wanted_positives() : options.wanted_negatives());
      all.resize(std::min(all.size(), wanted));
      chosen.insert(chosen.end(), all.begin(), all.end());
    }
    std::sort(chosen.begin(), chosen.end(), [](const Scored& l, const Scored& r) {
      if (l.score != r.score) return l.score < r.score;
      return l.time != r.time ? l.time < r.time : l.id > r.id;
    });
    for (auto masked = static_cast<int64_t>(chosen.size()); masked < options.k; ++masked) {
      result.ids.push_back(-1);
      result.similarity.push_back(0);
    }
    for (const Scored& example : chosen) {
      result.ids.push_back(example.id);
      result.similarity.push_back(example.score);
    }
  }
  return result;
}

}  // namespace llmcf::retrieval::testing
