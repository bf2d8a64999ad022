// Bundles of small sequence runs, of every backbone and context, against the training model: the
// state of every row of the test split, and of histories of every length, empty ones included,
// number by number; and the items that follow from it.
#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "data/sample.h"
#include "nn/runtime.h"
#include "pipeline/journey.h"
#include "pipeline/publish.h"
#include "retrieval/item_index.h"
#include "serve/item_list.h"
#include "serve/scorer/sequence_scorer.h"
#include "train/sequence_trainer.h"

namespace llmcf::pipeline {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kListed = 10;

constexpr const char* kRun = R"(
name: small
workspace: {workspace}
protocol: {protocol}
seeds: [1]
data: {{format: table, path: {shop}, schema: {shop}/schema.yaml}}
split: {{seed: 1}}
encode: {{kind: lsa, width: 16}}
reason: {{kind: template, share: 0.3, seed: 1}}
retrieve: {{k: 4, collaborative: {{width: 8, folds: 2}}}}
model: {{backbone: sasrec, embed_dim: 8, dropout: 0.1}}
train: {{epochs: 2, batch_size: 64, learning_rate: 0.02, history_length: 6}}
variants:
{variants})";

// What the training model makes of some rows.
struct Trained {
  train::SequenceVectors vectors;
  std::vector<int32_t> user, position, item;
  std::vector<int64_t> time;
  retrieval::Assignment slots;
};

class TrainedJourney final : public Journey {
 public:
  TrainedJourney(const RunConfig& config, const std::string& variant)
      : Journey(config, {}), run_(choose(variant, 0)) {}

  Trained test_split() {
    make_current(run_);
    std::vector<retrieval::Assignment> slots;
    const train::FeatureInputs inputs = feature_inputs(slots);
    return states(inputs, slots.empty() ? retrieval::Assignment() : slots.back());
  }

  // Every user at some length of the history: empty ones, and those of every length up to the
  // whole.
  Trained prefixes() {
    make_current(run_);
    std::vector<data::QueryRow> queries;
    for (int32_t user = 1; user <= dataset().num_users(); ++user)
      queries.push_back({.user = user,
                         .item = 1,
                         .position = user % (rows().history_length(user) + 1),
                         .time = std::numeric_limits<int64_t>::max() / 2});
    const auto file = directory_.path() / "rows.safetensors";
    data::write_query_rows(dataset(), workspace().rows(), queries, file);
    const data::RowSet asked(file);
    std::vector<retrieval::Assignment> slots;
    train::FeatureInputs inputs = feature_inputs(slots);
    inputs.rows = &asked;
    inputs.slots = {};
    retrieval::Assignment chosen;
    if (models::uses_retrieval(run_.variant->model)) {
      const std::vector<retrieval::Queries> parts = {
          retrieval::Queries::of(asked.rows(data::Split::kTest))};
      chosen = retrieval::assign_by_fold(pool_of(examples()), parts, item_vectors(),
                                         retrieval::histories_of(rows()), retrieval_options_)[0];
      inputs.slots[static_cast<size_t>(data::Split::kTest)] = train::SlotColumns::of(chosen);
    }
    return states(inputs, chosen);
  }
  std::span<const int32_t> history(int32_t user, int32_t position) {
    return rows().history(user, position);
  }

 private:
  Trained states(const train::FeatureInputs& all, const retrieval::Assignment& slots) {
    constexpr data::Split kTest = data::Split::kTest;
    Trained result;
    const train::SequenceStore store(train::inputs_for(run_.variant->model, all),
                                     run_.variant->features);
    train::SequenceTask task;
    describe(*run_.variant, run_.seed, task);
    task.sequences = &store;
    result.vectors = train::sequence_vectors(task, run_.variant->train, best_weights(run_), kTest);
    for (int64_t row = 0; row < store.count(kTest); ++row) {
      result.user.push_back(store.user(kTest, row));
      result.item.push_back(store.item(kTest, row));
      result.position.push_back(store.position(kTest, row));
      result.time.push_back(store.time(kTest, row));
    }
    if (models::uses_retrieval(run_.variant->model)) result.slots = slots;
    return result;
  }

  ChosenRun run_;
  TemporaryDirectory directory_;
};

class PublishSequenceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    nn::set_threads(1);
    directory_ = new TemporaryDirectory();
    data::write_sample({.users = 120, .items = 100, .events_per_user = 8, .seed = 5}, shop());
  }
  static void TearDownTestSuite() { delete directory_; }
  static std::filesystem::path shop() { return directory_->path() / "shop"; }

  static RunConfig config(const std::string& variants, const std::string& protocol = "strict") {
    return RunConfig::from(
        Config::parse(
            fmt::format(kRun, fmt::arg("workspace", (directory_->path() / protocol).string()),
                        fmt::arg("shop", shop().string()), fmt::arg("protocol", protocol),
                        fmt::arg("variants", variants)),
            (directory_->path() / "run.yaml").string()),
        "small");
  }

  // Trains and publishes a variant and compares it with what it was trained to.
  static void expect_parity(const RunConfig& run, const std::string& name) {
    const auto file = directory_->path() / (name + ".bundle");
    publish(run, {.variant = name, .seed = 0, .out = file});
    TrainedJourney journey(run, name);
    compare(file, name, journey, journey.test_split());
    const Trained prefixes = journey.prefixes();
    EXPECT_GT(std::count(prefixes.position.begin(), prefixes.position.end(), 0), 5)
        << "no empty history is compared";
    compare(file, name, journey, prefixes);
  }

  static void compare(const std::filesystem::path& file, const std::string& name,
                      TrainedJourney& journey, const Trained& trained) {
    const auto bundle = std::make_shared<const serve::Bundle>(file);
    const serve::SequenceScorer scorer(bundle);
    const serve::ItemList list(*bundle, {});
    const serve::Catalogue catalogue(bundle);
    const retrieval::ItemIndex index(trained.vectors.items, trained.vectors.width);
    const auto D = static_cast<size_t>(scorer.width());
    ASSERT_EQ(trained.vectors.states.size(), trained.user.size() * D) << name;
    serve::ScratchArena arena;
    double largest = 0, spread = 0, logit = 0;
    std::vector<float> state(D), shuffled(D);
    for (size_t row = 0; row < trained.user.size(); ++row) {
      arena.reset();
      serve::Slots slots = serve::Slots::make(1, trained.slots.k, arena);
      std::copy_n(trained.slots.ids.begin() + static_cast<int64_t>(row) * slots.k, slots.k,
                  slots.ids);
      std::copy_n(trained.slots.similarity.begin() + static_cast<int64_t>(row) * slots.k, slots.k,
                  slots.similarity);
      scorer.state({.catalogue = catalogue,
                    .user = trained.user[row],
                    .history = journey.history(trained.user[row], trained.position[row]),
                    .slots = &slots,
                    .time = trained.time[row]},
                   arena, state.data());
      const float* wanted = trained.vectors.states.data() + row * D;
      for (size_t d = 0; d < D; ++d) {
        largest = std::max(largest, std::abs(static_cast<double>(state[d]) - wanted[d]));
        spread += std::abs(wanted[d] - trained.vectors.states[d]);
      }
      const int32_t target = trained.item[row];
      float score = 0;
      list.score(state.data(), {&target, 1}, arena, {&score, 1});
      logit = std::max(logit, std::abs(static_cast<double>(score) - index.score(wanted, target)));
    }
    EXPECT_GT(trained.user.size(), 80U) << name;
    EXPECT_GT(spread / static_cast<double>(trained.user.size()), 0.1)
        << name << ": all states are alike, nothing is compared";
    EXPECT_LT(largest, 1e-4) << name;
    EXPECT_LT(logit, 1e-4) << name;
    RecordProperty(name, fmt::format("{:.2g}", std::max(largest, logit)));
    // The same vector gives the same list, bit for bit.
    const std::vector<char> hidden(static_cast<size_t>(list.items()) + 1, 0);
    const auto best = list.best(state.data(), kListed, hidden, arena);
    const auto expected = index.best(state, kListed);
    EXPECT_EQ(best.rows, expected.items) << name;
    EXPECT_EQ(best.scores, expected.scores) << name;
  }

  static TemporaryDirectory* directory_;
};

TemporaryDirectory* PublishSequenceTest::directory_ = nullptr;

TEST_F(PublishSequenceTest, EveryBackboneAndContextHasTheStatesOfTraining) {
  std::string variants;
  std::vector<std::string> names;
  for (const char* backbone : {"gru4rec", "sasrec", "srgnn", "youtubednn"})
    for (const char* context : {"none", "text", "concat", "ict", "ict_wocot", "mean"}) {
      names.push_back(fmt::format("{}-{}", backbone, context));
      variants += fmt::format("  - {{name: {}, model: {{backbone: {}, context: {}}}}}\n",
                              names.back(), backbone, context);
    }
  const RunConfig run = config(variants);
  for (const std::string& name : names)
    expect_parity(run, name);
}

TEST_F(PublishSequenceTest, OptionsHaveTheStatesOfTraining) {
  const RunConfig run = config(
      R"(  - {name: users-sasrec, model: {context: ict, user_ids: true}}
  - {name: users-youtubednn, model: {backbone: youtubednn, context: none, user_ids: true}}
  - {name: users-srgnn, model: {backbone: srgnn, context: text, user_ids: true}}
  - {name: users-concat, model: {backbone: gru4rec, context: concat, user_ids: true}}
  - {name: deep-sasrec, model: {context: none, sasrec: {blocks: 3, heads: 4}}}
  - {name: deep-gru4rec, model: {backbone: gru4rec, context: none, gru4rec: {layers: 2}}}
  - {name: deep-srgnn, model: {backbone: srgnn, context: none, srgnn: {steps: 2}}}
  - {name: fused, model: {context: ict, fusion: concat, text_map: [12], token_map: [12]}}
  - {name: weighed, model: {context: text, context_weight: 0.7}}
  - {name: published, model: {context: ict, ict: {module: published}}}
  - {name: own-map, model: {context: ict, ict: {cot_map: own, layers: 3}}}
)");
  for (const char* name :
       {"users-sasrec", "users-youtubednn", "users-srgnn", "users-concat", "deep-sasrec",
        "deep-gru4rec", "deep-srgnn", "fused", "weighed", "published", "own-map"})
    expect_parity(run, name);
}

TEST_F(PublishSequenceTest, ThePapersProtocolHasTheStatesOfTraining) {
  const RunConfig run = config(
      R"(  - {name: paper-sasrec, model: {context: ict}}
  - {name: paper-youtubednn, model: {backbone: youtubednn, context: ict}}
)",
      "paper");
  for (const char* name : {"paper-sasrec", "paper-youtubednn"})
    expect_parity(run, name);
}

TEST_F(PublishSequenceTest, ABundleOfPairsHasNoStates) {
  const RunConfig run =
      config("  - {name: pairs, model: {backbone: deepfm, context: none}}\n", "strict");
  const auto file = directory_->path() / "pairs.bundle";
  publish(run, {.variant = "pairs", .seed = 0, .out = file});
  try {
    const serve::SequenceScorer scorer(std::make_shared<const serve::Bundle>(file));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("pairs.bundle"));
    EXPECT_THAT(error.what(), HasSubstr("click model"));
  }
}

}  // namespace
}  // namespace llmcf::pipeline
