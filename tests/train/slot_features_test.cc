// What a batch says of each slot, against the data set itself.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "train/batch_builder.h"
#include "train/shop.h"

namespace llmcf::train {
namespace {

using testing::Examples;
using testing::Shop;

// Similarity and its halves, age, same item, same brand, a shared category; zeros where masked.
TEST(BatchBuilder, SaysWhatRetrievalKnowsOfEachSlot) {
  const Shop shop({});
  const Examples examples(shop, 8, 3);
  FeatureInputs inputs = examples.inputs(shop);
  const data::Rows& valid = shop.rows().rows(data::Split::kValid);
  std::vector<int64_t> times(inputs.examples.user.size());
  for (size_t example = 0; example < times.size(); ++example)
    times[example] = valid.time[0] - 86400 * static_cast<int64_t>(example);
  inputs.examples.time = times;
  std::vector<float> history(inputs.slots[1].ids.size()), target(history.size());
  std::iota(history.begin(), history.end(), 0.0F);
  std::iota(target.begin(), target.end(), 0.5F);
  inputs.slots[1].history_similarity = history;
  inputs.slots[1].target_similarity = target;
  EXPECT_EQ(FeatureStore(inputs, {}).inputs().slot_features, false);
  inputs.slot_features = true;
  const FeatureStore store(inputs, {});
  ASSERT_EQ(models::slot_feature_count(store.spec()), 7);
  const auto values = [&](const char* field, int32_t item) {
    const data::FieldColumn* column = shop.dataset().find_field(field);
    const auto begin = column->ids.begin() + column->offsets[static_cast<size_t>(item)];
    return std::set<int32_t>(begin,
                             column->ids.begin() + column->offsets[static_cast<size_t>(item) + 1]);
  };
  const auto share = [&](const char* field, int32_t a, int32_t b) {
    const std::set<int32_t> left = values(field, a), right = values(field, b);
    return std::ranges::any_of(left, [&](int32_t id) { return right.contains(id); }) ? 1.0F : 0.0F;
  };
  BatchBuilder builder(store);
  models::Batch batch;
  std::vector<int64_t> rows(static_cast<size_t>(valid.size()));
  std::iota(rows.begin(), rows.end(), 0);
  builder.build(data::Split::kValid, rows, batch);
  ASSERT_EQ(batch.slot_features.size(), rows.size() * 3 * 7);
  float seen[3] = {0, 0, 0};  // of the three yes-or-no features
  for (size_t row = 0; row < rows.size(); ++row) {
    std::vector<size_t> used;
    for (size_t slot = row * 3; slot < row * 3 + 3; ++slot)
      if (inputs.slots[1].ids[slot] >= 0) used.push_back(slot);
    const float* out = batch.slot_features.data() + row * 21;
    for (size_t i = 0; i < (3 - used.size()) * 7; ++i)
      ASSERT_EQ(*out++, 0.0F);
    for (const size_t slot : used) {
      const auto example = static_cast<size_t>(inputs.slots[1].ids[slot]);
      const int32_t item = valid.item[row], other = inputs.examples.item[example];
      EXPECT_FLOAT_EQ(out[0], 4 * inputs.slots[1].similarity[slot] - 2);
      EXPECT_FLOAT_EQ(out[1], 4 * static_cast<float>(slot) - 2);
      EXPECT_FLOAT_EQ(out[2], 4 * (static_cast<float>(slot) + 0.5F) - 2);
      const double days =
          std::max(0.0, static_cast<double>(valid.time[row] - times[example]) / 86400);
      EXPECT_FLOAT_EQ(out[3], static_cast<float>(std::log1p(days) / 2 - 2));
      const float wanted[3] = {item == other ? 1.0F : 0.0F, share("brand", item, other),
                               share("category", item, other)};
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(out[4 + i], wanted[i]) << row << " feature " << i;
        seen[i] += wanted[i];
      }
      out += 7;
    }
  }
  for (const float count : seen) {
    EXPECT_GT(count, 0);
    EXPECT_LT(count, static_cast<float>(rows.size() * 3));
  }
}

}  // namespace
}  // namespace llmcf::train
