// Tuning: packed rows have the gradients of rows apart, adapters merge and come back, a killed run
// goes on as if nothing had been, weights between two models.
#include <cmath>

#include <ATen/ops/allclose.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "llm/checkpoint.h"
#include "llm/model_directory.h"
#include "llm/toy_model.h"
#include "llm/tuner.h"

namespace llmcf::llm {
namespace {

using testing::ByteTokenizer;
using ::testing::HasSubstr;
using testing::toy_model;

// Questions and answers of uneven lengths, as tokens.
std::vector<TokenizedText> texts(int count = 12) {
  const ByteTokenizer tokenizer;
  std::vector<TokenizedText> result;
  for (int i = 0; i < count; ++i) {
    Conversation talk;
    talk.turns = {
        {Role::kUser, std::string(static_cast<size_t>(1 + i % 5), static_cast<char>('a' + i))},
        {Role::kAssistant, "yes " + std::to_string(i * i)}};
    result.push_back(tokenize(talk, ChatTemplate::kLlama2, tokenizer));
  }
  return result;
}

double distance(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// Gradients of all parameters of the mean loss over `rows`.
std::vector<torch::Tensor> gradients(LanguageModel& model, const PackedRows& rows) {
  for (auto& [name, tensor] : model.parameters())
    tensor.set_requires_grad(true).mutable_grad() = torch::Tensor();
  const auto take = [&](std::vector<int64_t> values) {
    return at::from_blob(values.data(), {rows.rows(), rows.length}, torch::kLong).clone();
  };
  model.loss({take(rows.ids), take(rows.positions), take(rows.segments)}, take(rows.targets))
      .mean.backward();
  std::vector<torch::Tensor> result;
  for (auto& [name, tensor] : model.parameters())
    result.push_back(tensor.grad().clone());
  return result;
}

double largest_distance(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, distance(a[i], b[i]));
  return largest;
}

TEST(Packing, KeepsEveryConversationInOneRow) {
  const auto all = texts();
  const PackedRows packed = pack(all, 64);
  EXPECT_LE(packed.rows(), static_cast<int64_t>(all.size()) / 2);
  EXPECT_EQ(packed.cut, 0);
  std::vector<std::vector<int64_t>> found;
  for (int64_t row = 0; row < packed.rows(); ++row) {
    for (int64_t t = 0; t < packed.length; ++t) {
      const auto at = static_cast<size_t>(row * packed.length + t);
      if (packed.segments[at] < 0) {
        EXPECT_EQ(packed.targets[at], -1);
        continue;
      }
      if (packed.positions[at] == 0) found.emplace_back();
      found.back().push_back(packed.ids[at]);
      EXPECT_EQ(static_cast<int64_t>(found.back().size()) - 1, packed.positions[at]);
      if (packed.targets[at] >= 0) {
        EXPECT_EQ(packed.targets[at], packed.ids[at + 1]);
        EXPECT_EQ(packed.segments[at], packed.segments[at + 1]);
      }
    }
  }
  ASSERT_EQ(found.size(), all.size());
  for (const auto& text : all)
    EXPECT_THAT(found, ::testing::Contains(std::vector<int64_t>(text.ids.begin(), text.ids.end())));
}

TEST(Packing, CutsAndDropsWhatDoesNotFitAndSaysSo) {
  TokenizedText text{.ids = {1, 5, 6, 7, 8}, .learned = {0, 0, 0, 1, 1}};
  EXPECT_EQ(pack({text}, 4).cut, 1);
  EXPECT_EQ(pack({text}, 4).rows(), 1);
  EXPECT_EQ(pack({text}, 3).dropped, 1) << "the answer begins behind the cut";
  EXPECT_EQ(pack({text}, 3).rows(), 0);
  EXPECT_THROW(pack({text}, 1), Error);
}

TEST(Packing, HasTheGradientsOfConversationsApart) {
  const auto model = toy_model();
  const PackedRows together = pack(texts(), 64), apart = pack(texts(), 32, true);
  ASSERT_EQ(apart.rows(), 12);
  const auto want = gradients(*model, apart);
  EXPECT_LT(largest_distance(gradients(*model, together), want), 1e-5);
  PackedRows leaking = together;  // without segments, a conversation reads its neighbours
  for (int64_t& segment : leaking.segments)
    segment = 0;
  EXPECT_GT(largest_distance(gradients(*model, leaking), want), 1e-3);
}

TuneOptions quick() {
  TuneOptions options;
  options.epochs = 6;
  options.rows_per_step = 2;
  options.rows_at_once = 2;
  options.learning_rate = 3e-3;
  options.warm_up = 0.1;
  options.save_every = 3;
  return options;
}

TEST(Tuning, Learns) {
  const auto model = toy_model();
  const PackedRows rows = pack(texts(), 64);
  const double before = evaluate_loss(*model, rows, 2);
  const auto losses = tune(*model, rows, quick(), {}, "");
  EXPECT_EQ(losses.size(), 6U * static_cast<size_t>((rows.rows() + 1) / 2));
  EXPECT_LT(evaluate_loss(*model, rows, 3), 0.6 * before);
}

TEST(Tuning, AccumulationAndRecomputationChangeNothing) {
  const PackedRows rows = pack(texts(), 64);
  const auto plain = toy_model();
  const auto want = tune(*plain, rows, quick(), {}, "");
  for (const bool recompute : {false, true}) {
    TuneOptions options = quick();
    options.rows_at_once = recompute ? 2 : 1;
    options.recompute = recompute;
    const auto model = toy_model();
    const auto found = tune(*model, rows, options, {}, "");
    ASSERT_EQ(found.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_NEAR(found[i], want[i], 2e-3 * want[i]) << "step " << i + 1;
  }
}

struct Killed {};

TEST(Tuning, GoesOnAfterAKillToTheSameLosses) {
  const TemporaryDirectory directory;
  const PackedRows rows = pack(texts(), 64);
  for (const int64_t rank : {0, 4}) {
    TuneOptions options = quick();
    options.lora.rank = rank;
    options.lora.dropout = rank > 0 ? 0.3 : 0;
    const auto undisturbed = toy_model();
    const auto want = tune(*undisturbed, rows, options, {}, "");
    const auto state = directory.path() / std::to_string(rank);
    for (const int64_t killed_at : {2, 5, 7}) {  // one before the first save
      const auto model = toy_model();
      EXPECT_THROW(tune(*model, rows, options, state, "a",
                        [&](const TuneStep& step) {
                          if (step.step == killed_at) throw Killed();
                        }),
                   Killed);
    }
    const auto model = toy_model();
    EXPECT_EQ(tune(*model, rows, options, state, "a"), want);
    for (size_t i = 0; i < model->parameters().size(); ++i)
      EXPECT_EQ(distance(model->parameters()[i].second, undisturbed->parameters()[i].second), 0);
    EXPECT_EQ(tune(*toy_model(), rows, options, state, "a"), want) << "a finished one is kept";
    EXPECT_THROW(tune(*toy_model(), rows, options, state, "b"), InputError);
  }
}

TEST(Tuning, FirstStepIsAdamWs) {
  const PackedRows rows = pack(texts(), 64);
  TuneOptions options = quick();
  options.epochs = 1;
  options.rows_per_step = options.rows_at_once = rows.rows();
  options.warm_up = 1;  // one step, at the highest rate
  options.clip = 0;
  options.weight_decay = 0.1;
  const auto model = toy_model(), start = toy_model();
  const auto gradient = gradients(*start, rows);
  tune(*model, rows, options, {}, "");
  for (size_t i = 0; i < gradient.size(); ++i) {
    const torch::Tensor before = start->parameters()[i].second.detach();
    const double decay = before.dim() > 1 ? 1 - options.learning_rate * 0.1 : 1;
    const torch::Tensor want =
        before * decay - options.learning_rate * gradient[i] / (gradient[i].abs() + 1e-8);
    // Where a gradient is as small as rounding, its sign is not determined.
    const torch::Tensor sure = (gradient[i].abs() > 1e-6).to(torch::kFloat);
    EXPECT_LT(distance(model->parameters()[i].second.detach() * sure, want * sure), 2e-5)
        << model->parameters()[i].first;
  }
}

TEST(Tuning, RatesRiseAndFall) {
  TuneOptions options;
  options.learning_rate = 1;
  options.warm_up = 0.1;
  options.last_rate = 0.2;
  EXPECT_NEAR(rate_at(options, 1, 100), 0.1, 1e-9);
  EXPECT_NEAR(rate_at(options, 10, 100), 1, 1e-9);
  EXPECT_NEAR(rate_at(options, 55, 100), 0.6, 1e-9);
  EXPECT_NEAR(rate_at(options, 100, 100), 0.2, 1e-9);
}

TEST(Tuning, AnchorsHoldTheWeights) {
  const PackedRows rows = pack(texts(), 64);
  const auto moved = [&](Anchor anchor) {
    TuneOptions options = quick();
    options.anchor = anchor;
    options.anchor_strength = anchor == Anchor::kL1 ? 0.01 : 1;
    options.clip = 0;
    const auto model = toy_model(), start = toy_model();
    tune(*model, rows, options, {}, "");
    double sum = 0;
    for (size_t i = 0; i < model->parameters().size(); ++i)
      sum += (model->parameters()[i].second - start->parameters()[i].second)
                 .square()
                 .sum()
                 .item<double>();
    return sum;
  };
  const double free = moved(Anchor::kNone);
  EXPECT_LT(moved(Anchor::kL2), 0.7 * free);
  EXPECT_LT(moved(Anchor::kL1), 0.7 * free);
}

TEST(Tuning, HalfPrecisionLearnsFromStepsBelowItsResolution) {
  const PackedRows rows = pack(texts(), 64);
  const auto wide = toy_model();
  LanguageModel model(testing::toy_config(), torch::kBFloat16, torch::kCPU);
  for (size_t i = 0; i < wide->parameters().size(); ++i)
    model.parameters()[i].second.copy_(wide->parameters()[i].second);
  TuneOptions options = quick();
  options.epochs = 30;
  options.learning_rate = 3e-4;  // bf16 cannot tell 0.16 from 0.1603
  const auto losses = tune(model, rows, options, {}, "");
  const auto reference = tune(*wide, rows, options, {}, "");
  EXPECT_NEAR(losses.back(), reference.back(), 0.15 * reference.back());
  EXPECT_LT(losses.back(), 0.8 * losses.front());
}

TEST(Tuning, SaysWhatIsOutOfRange) {
  const auto refused = [](auto change) {
    TuneOptions options;
    change(options);
    try {
      options.check();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(refused([](TuneOptions& o) { o.epochs = 0; }), HasSubstr("epochs"));
  EXPECT_THAT(refused([](TuneOptions& o) { o.lora.targets = {"q"}; }), HasSubstr("q_proj"));
  EXPECT_THAT(refused([](TuneOptions& o) {
                o.lora.rank = 2;
                o.anchor = Anchor::kL2;
              }),
              HasSubstr("anchor"));
  EXPECT_EQ(refused([](TuneOptions&) {}), "accepted");
  EXPECT_THROW(tune(*toy_model(), PackedRows{}, quick(), {}, ""), Error);
}

// 7B parameters, as LLaMA 2 has them.
ModelConfig seven_billion() {
  ModelConfig config;
  config.hidden = 4096;
  config.intermediate = 11008;
  config.layers = 32;
  config.heads = config.kv_heads = 32;
  config.head_width = 128;
  config.vocabulary = 32000;
  return config;
}

TEST(Tuning, EstimatesWhatASevenBillionModelNeeds) {
  EXPECT_EQ(seven_billion().parameters(), 6738415616);
  TuneOptions options;
  options.rows_at_once = 1;
  options.recompute = true;
  const auto whole = estimate_memory(seven_billion(), torch::kBFloat16, options, 1024);
  EXPECT_EQ(whole.weights + whole.gradients + whole.optimizer, 6738415616 * 16);
  EXPECT_LT(whole.total(), 141e9);
  options.lora.rank = 8;
  EXPECT_LT(estimate_memory(seven_billion(), torch::kBFloat16, options, 1024).total(), 24e9);
}

class Adapters : public ::testing::Test {
 protected:
  torch::Tensor logits(LanguageModel& model) const {
    const torch::NoGradGuard no_gradients;
    std::vector<int64_t> ids = {1, 70, 80, 90, 100};
    return model.logits(model.hidden({at::from_blob(ids.data(), {1, 5}, torch::kLong), {}, {}}));
  }
  // An adapter that does something.
  std::unique_ptr<LanguageModel> adapted() const {
    auto model = toy_model();
    attach_adapter(*model, options_, 3);
    for (auto& [name, tensor] : adapter_parameters(*model))
      if (name.ends_with("lora_B.weight")) tensor.normal_(0, 0.2);
    return model;
  }
  LoraOptions options_ = {
      .rank = 3, .alpha = 6, .dropout = 0.1, .targets = {"q_proj", "down_proj"}};
  TemporaryDirectory directory_;
};

TEST_F(Adapters, ChangeNothingAtFirst) {
  const auto plain = toy_model(), model = toy_model();
  attach_adapter(*model, options_, 3);
  EXPECT_EQ(distance(logits(*plain), logits(*model)), 0);
  EXPECT_EQ(adapter_parameters(*model).size(), 8U);
}

TEST_F(Adapters, MergeAndComeBack) {
  const auto plain = toy_model(), model = adapted();
  const torch::Tensor want = logits(*model);
  EXPECT_GT(distance(want, logits(*plain)), 0.01);
  merge_adapter(*model);
  EXPECT_LT(distance(logits(*model), want), 1e-4);
  EXPECT_THROW(merge_adapter(*model), Error);
  unmerge_adapter(*model);
  EXPECT_LT(distance(logits(*model), want), 1e-4);
  EXPECT_THROW(unmerge_adapter(*model), Error);
  EXPECT_THROW(merge_adapter(*plain), Error);
}

TEST_F(Adapters, AreWrittenAsPeftReadsThem) {
  const auto model = adapted();
  const auto place = directory_.path() / "adapter";
  save_adapter(*model, options_, "base/model", place);
  const auto config = nlohmann::json::parse(read_file(place / "adapter_config.json"));
  EXPECT_EQ(config["peft_type"], "LORA");
  EXPECT_EQ(config["r"], 3);
  EXPECT_EQ(config["base_model_name_or_path"], "base/model");
  const SafetensorsReader reader(place / "adapter_model.safetensors");
  EXPECT_EQ(reader.tensor("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight").shape,
            (std::vector<int64_t>{3, 32}));
  EXPECT_EQ(reader.tensor("base_model.model.model.layers.0.mlp.down_proj.lora_B.weight").shape,
            (std::vector<int64_t>{32, 3}));
  const auto again = toy_model();
  const LoraOptions read = load_adapter(*again, place);
  EXPECT_EQ(read.targets, options_.targets);
  EXPECT_EQ(distance(logits(*again), logits(*model)), 0);
  EXPECT_THROW(save_adapter(*model, options_, "x", place), Error) << "nothing is overwritten";
}

TEST_F(Adapters, WeightsBetweenTwoModels) {
  const auto a = toy_model(1), b = toy_model(2);
  write_file(directory_.path() / "extra", "");
  save_model(*a, {}, directory_.path() / "a");
  save_model(*b, {}, directory_.path() / "b");
  write_file(directory_.path() / "b" / "tokenizer.json", "{}");
  for (const double alpha : {0.0, 0.25, 1.0}) {
    const auto out = directory_.path() / std::to_string(alpha);
    interpolate(directory_.path() / "a", directory_.path() / "b", alpha, out);
    const auto found = LanguageModel::load(out, torch::kFloat, torch::kCPU);
    for (size_t i = 0; i < found->parameters().size(); ++i) {
      const torch::Tensor want =
          (1 - alpha) * a->parameters()[i].second + alpha * b->parameters()[i].second;
      EXPECT_LT(distance(found->parameters()[i].second, want), 1e-6);
    }
    EXPECT_TRUE(std::filesystem::exists(out / "tokenizer.json")) << "b's tokenizer comes along";
  }
  EXPECT_THROW(
      interpolate(directory_.path() / "a", directory_.path() / "b", 2, directory_.path() / "c"),
      Error);
}

}  // namespace
}  // namespace llmcf::llm
