// DIN against the textbook form, and its histories: none, one item, one item again and again.
#include <map>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include "core/error.h"
#include "models/recommender.h"
#include "models/toy_batch.h"
#include "nn/dropout.h"

namespace llmcf::models {
namespace {

using testing::ToyWorld;

std::vector<std::vector<int32_t>> histories() {
  return {{}, {4}, std::vector<int32_t>(20, 7), {3, 5, 3, 1}};
}

Recommender make(const ModelOptions& options) {
  return {ToyWorld::spec(), options, {}, 1};
}

// The tower's output for query b, each event by itself over [q, k, q - k, q * k].
float textbook(Recommender& model, const Batch& batch, size_t b) {
  std::map<std::string, torch::Tensor> p;
  for (const auto& [name, tensor] : model.state())
    p[name] = tensor.detach();
  const auto linear = [&](const std::string& name, const torch::Tensor& x) {
    return p.at("backbone." + name + ".weight").mv(x) + p.at("backbone." + name + ".bias");
  };
  // Of one bag; here every bag of an item holds one id, and all rows of the tables are in use.
  const auto embedded = [&](const Bag& bag, size_t place, const std::string& table) {
    return p.at("tables." + table)[bag.ids[static_cast<size_t>(bag.offsets[place])]];
  };
  const char* tables[3] = {"item_id", "brand", "category"};
  const auto vector = [&](const std::vector<Bag>& bags, size_t from, size_t place) {
    std::vector<torch::Tensor> parts;
    for (size_t g = 0; g < 3; ++g)
      parts.push_back(embedded(bags[from + g], place, tables[g]));
    return at::cat(parts);
  };
  const torch::Tensor q = vector(batch.fields, 1, b);
  torch::Tensor pooled = at::zeros(q.sizes());
  for (int32_t e = batch.history.offsets[b]; e < batch.history.offsets[b + 1]; ++e) {
    const torch::Tensor k = vector(
        batch.history.fields, 0, static_cast<size_t>(batch.history.items[static_cast<size_t>(e)]));
    const torch::Tensor hidden =
        linear("attention1", linear("attention0", at::cat({q, k, q - k, q * k})).relu());
    pooled = pooled + linear("score", hidden) * k;
  }
  const Bag& users = batch.fields[0];
  const int32_t user = batch.tables[0].rows[static_cast<size_t>(users.ids[b])];
  torch::Tensor x = at::cat({q, pooled, p.at("tables.user_id")[user]});
  x = linear("tower.linear0", x).relu();
  return linear("tower.linear2", linear("tower.linear1", x).relu()).item<float>();
}

TEST(Din, IsTheTextbookFormForEveryHistory) {
  const at::NoGradGuard no_gradients;
  Recommender model = make(ToyWorld::options("none", "din"));
  const Batch batch = ToyWorld::with_histories(ToyWorld::batch(1, 4, 0), histories());
  model.eval();
  const torch::Tensor logits = model.forward(batch).logits;
  for (size_t b = 0; b < 4; ++b)
    EXPECT_NEAR(logits[static_cast<int64_t>(b)].item<float>(), textbook(model, batch, b), 1e-4F);
}

TEST(Din, AnItemTwentyTimesCountsTwentyTimes) {
  const at::NoGradGuard no_gradients;
  Recommender model = make(ToyWorld::options("none", "din"));
  model.eval();
  const auto logit = [&](size_t times) {
    const auto same = std::vector<int32_t>(times, 7);
    return model.forward(ToyWorld::with_histories(ToyWorld::batch(1, 4, 0), {same, {}, {}, {}}))
        .logits;
  };
  const torch::Tensor once = logit(1), often = logit(20), never = logit(0);
  EXPECT_TRUE(once.narrow(0, 1, 3).equal(often.narrow(0, 1, 3)));  // others see nothing of it
  EXPECT_NE(once[0].item<float>(), never[0].item<float>());
  EXPECT_NE(often[0].item<float>(), once[0].item<float>());
}

// Each slab row against a difference quotient.
TEST(Din, GradientsFlowIntoTheSharedTables) {
  Recommender model = make(ToyWorld::options("none", "din"));
  const Batch batch = ToyWorld::with_histories(ToyWorld::batch(1, 4, 0), histories());
  model.eval();  // no dropout
  const auto total = [&] { return model.loss(batch).total; };
  total().backward();
  nn::EmbeddingTable& table = *model.tables()[1];
  const torch::Tensor gradient = model.slab_gradients()[1].slab.grad().clone();
  const at::NoGradGuard no_gradients;
  for (const int64_t row : {1, 3, 4, 5, 7}) {  // items of the histories
    EXPECT_GT(gradient[row].abs().sum().item<float>(), 0.0F) << row;
    for (int64_t column = 0; column < 3; ++column) {
      const torch::Tensor value = table.values()[row][column];
      const float kept = value.item<float>();
      value.fill_(kept + 1e-2F);
      const double up = total().item<double>();
      value.fill_(kept - 1e-2F);
      const double down = total().item<double>();
      value.fill_(kept);
      EXPECT_NEAR(gradient[row][column].item<double>(), (up - down) / 2e-2, 2e-3)
          << row << " " << column;
    }
  }
}

TEST(Din, MayActivateBeforeTheScore) {
  const at::NoGradGuard no_gradients;
  ModelOptions options = ToyWorld::options("none", "din");
  const Batch batch = ToyWorld::with_histories(ToyWorld::batch(1, 4, 0), histories());
  Recommender without = make(options);
  options.backbone_options = Config::parse("last_attention_activation: relu");
  Recommender with = make(options);
  without.eval();
  with.eval();
  const torch::Tensor a = without.forward(batch).logits, b = with.forward(batch).logits;
  EXPECT_EQ(a[0].item<float>(), b[0].item<float>());  // no history, no attention
  EXPECT_NE(a[3].item<float>(), b[3].item<float>());
}

TEST(Din, NamesFeaturesMadeWithoutHistories) {
  FeatureSpec spec = ToyWorld::spec();
  spec.sequence_fields.clear();
  EXPECT_THROW(Recommender(spec, ToyWorld::options("none", "din"), {}, 1), Error);
  Recommender model = make(ToyWorld::options("none", "din"));
  Batch batch = ToyWorld::batch(1);
  batch.history = {};
  EXPECT_THROW(model.forward(batch), Error);
}

}  // namespace
}  // namespace llmcf::models
