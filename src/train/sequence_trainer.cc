#include "train/sequence_trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "models/trainable_sequence.h"
#include "retrieval/item_index.h"
#include "train/all_items.h"
#include "train/batch_loader.h"
#include "train/checkpoint.h"
#include "train/prefetcher.h"
#include "train/run_loop.h"
#include "train/sequence_builder.h"

namespace llmcf::train {

namespace {

using models::SequenceBatch;

models::TrainableSequence make_model(const SequenceTask& task,
                                     const nn::OptimizerOptions& optimizer, int64_t seed) {
  const models::FrozenTables frozen{.item_text = task.sequences->inputs().item_text,
                                    .cot = task.example_text};
  return {task.sequences->data(), task.model, optimizer, frozen, static_cast<uint64_t>(seed)};
}

// Batches of a split's units, built ahead.
class SequenceLoader {
 public:
  // `draw` without its batch number; null = no targets.
  SequenceLoader(const SequenceStore& store, const models::ModelOptions& model, data::Split split,
                 const SequenceUnits& units, std::vector<int64_t> order, const NegativeDraw* draw,
                 const LoadOptions& load)
      : builder_(store, model),
        order_(std::move(order)),
        batch_size_(load.batch_size),
        batches_((static_cast<int64_t>(order_.size()) + load.batch_size - 1) / load.batch_size,
                 load.depth, [this, split, &units, draw](int64_t index, SequenceBatch& batch) {
                   const auto begin = static_cast<size_t>(index * batch_size_);
                   const size_t count =
                       std::min(static_cast<size_t>(batch_size_), order_.size() - begin);
                   NegativeDraw of_batch;
                   if (draw != nullptr) of_batch = *draw;
                   of_batch.batch = index;
                   builder_.build(split, units, std::span(order_).subspan(begin, count),
                                  draw == nullptr ? nullptr : &of_batch, batch);
                 }) {}

  const SequenceBatch* next() { return batches_.next(); }

 private:
  SequenceBuilder builder_;
  std::vector<int64_t> order_;
  int64_t batch_size_;
  Prefetcher<SequenceBatch> batches_;
};

std::vector<float> states_of(models::TrainableSequence& model, const SequenceTask& task,
                             const TrainOptions& options, data::Split split) {
  const SequenceUnits units = task.sequences->row_units(split);
  std::vector<int64_t> order(units.units.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  SequenceLoader loader(*task.sequences, task.model, split, units, std::move(order), nullptr,
                        {.batch_size = options.eval_batch_size, .depth = options.prefetch});
  std::vector<float> states;
  while (const SequenceBatch* batch = loader.next()) {
    const std::vector<float> some = model.states(*batch);
    for (const float value : some)
      if (!std::isfinite(value))
        throw Error(
            fmt::format("{}: a state of split '{}' is {}; the weights have diverged. Lower "
                        "train.learning_rate.",
                        task.name, data::split_name(split), value));
    states.insert(states.end(), some.begin(), some.end());
  }
  return states;
}

class SequenceLoop final : public RunLoop {
 public:
  SequenceLoop(const SequenceTask& task, const TrainOptions& options)
      : RunLoop(task, options),
        task_(task),
        options_(options),
        store_(*task.sequences),
        model_(make_model(task, options.optimizer, options.seed)),
        units_(task.model.sequence.every_position ? store_.window_units(data::Split::kTrain)
                                                  : store_.row_units(data::Split::kTrain)) {
    for (const data::Split split : data::kAllSplits)
      if (store_.count(split) == 0)
        throw Error(
            fmt::format("{}: split '{}' has no positive row", task.name, data::split_name(split)));
  }

 private:
  models::Trainable& model() override { return model_; }

  int64_t train_epoch(EpochResult& epoch) override {
    auto units = static_cast<int64_t>(units_.units.size());
    if (options_.max_rows > 0) units = std::min(units, options_.max_rows);
    const auto seed = static_cast<uint64_t>(options_.seed);
    const NegativeDraw draw{.seed = seed, .epoch = epoch.epoch};
    SequenceLoader loader(store_, task_.model, data::Split::kTrain, units_,
                          epoch_order(units, seed, epoch.epoch), &draw,
                          {.batch_size = options_.batch_size, .depth = options_.prefetch});
    int64_t rows = 0;
    for (int64_t unit = 0; unit < units; ++unit)
      rows += units_.units[static_cast<size_t>(unit)].last -
              units_.units[static_cast<size_t>(unit)].first;
    begin_epoch(rows, epoch);
    while (const SequenceBatch* batch = loader.next()) {
      const models::StepLosses losses = model_.train_step(*batch);
      if (!losses.finite())
        throw Error(fmt::format(
            "{}: the loss is not finite (next item {}, reconstruction {}) in "
            "epoch {}, step {}. Lower train.learning_rate, or look for bad "
            "values in the texts.",
            task_.name, losses.click, losses.reconstruction, epoch.epoch, epoch.steps + 1));
      count_step(losses, batch->common.queries, epoch);
    }
    return rows;
  }

  retrieval::TargetRanks ranks(data::Split split) {
    const std::vector<float> items = model_.item_vectors();
    const retrieval::ItemIndex index(items, task_.model.embed_dim);
    const std::vector<float> states = states_of(model_, task_, options_, split);
    std::vector<int32_t> targets;
    for (int64_t row = 0; row < store_.count(split); ++row)
      targets.push_back(store_.item(split, row));
    return index.ranks(states, targets, [&](int64_t row) {
      return store_.inputs().rows->history(store_.user(split, row), store_.position(split, row));
    });
  }

  Figures validate() override {
    const retrieval::TargetRanks found = ranks(data::Split::kValid);
    Figures all, figures;
    add_figures(found.all, "", all);
    for (const char* name : {"ndcg@10", "hit@10"})
      figures.add(name, all.at(name));
    return figures;
  }

  TestResult test() override {
    const retrieval::TargetRanks found = ranks(data::Split::kTest);
    TestResult test;
    test.rows = store_.count(data::Split::kTest);
    add_figures(found.all, "", test.figures);
    add_figures(found.unseen, "_unseen", test.figures);
    SafetensorsWriter writer;
    const std::vector<int64_t> rows = positive_rows(store_.inputs().rows->rows(data::Split::kTest));
    writer.add("rank", found.all);
    writer.add("rank_unseen", found.unseen);
    writer.add("row", rows);
    writer.write(task_.directory / "test_scores.safetensors");
    log::info("{}: test NDCG@10 {:.4f}  HIT@10 {:.4f}  (seen items excluded: {:.4f}, {:.4f})",
              task_.name, test.figures.at("ndcg@10"), test.figures.at("hit@10"),
              test.figures.at("ndcg@10_unseen"), test.figures.at("hit@10_unseen"));
    scalar("test/ndcg@10", test.figures.at("ndcg@10"));
    scalar("test/hit@10", test.figures.at("hit@10"));
    return test;
  }

  const SequenceTask& task_;
  const TrainOptions& options_;
  const SequenceStore& store_;
  models::TrainableSequence model_;
  SequenceUnits units_;
};

}  // namespace

TrainResult train_sequences(const SequenceTask& task, const TrainOptions& options) {
  LLMCF_ASSERT(task.sequences != nullptr);
  const ScopedThreads threads(training_threads(task.model, options));
  return SequenceLoop(task, options).finish();
}

SequenceVectors sequence_vectors(const SequenceTask& task, const TrainOptions& options,
                                 const std::filesystem::path& checkpoint, data::Split split) {
  LLMCF_ASSERT(task.sequences != nullptr);
  const ScopedThreads threads(training_threads(task.model, options));
  models::TrainableSequence model = make_model(task, {}, 0);
  load_weights(model, checkpoint);
  SequenceVectors vectors{.width = task.model.embed_dim, .states = {}, .items = {}};
  vectors.items = model.item_vectors();
  vectors.states = states_of(model, task, options, split);
  return vectors;
}

}  // namespace llmcf::train
