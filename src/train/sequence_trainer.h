// Training of sequence models: the loop of trainer.h over sequences, judged by where each row's
// target stands among all items. The best epoch is that of the highest validation NDCG@10, seen
// items not excluded.
//
// Files in the task's directory: those of trainer.h, but that test_scores.safetensors holds
//   rank, rank_unseen  int32, by positive row of the test split: items before the target, without
//                      and with the exclusion of what the user has seen (from 0)
//   row                int64, the row's number in the split
#pragma once

#include "train/sequence_store.h"
#include "train/trainer.h"

namespace llmcf::train {

struct SequenceTask : RunTask {
  const SequenceStore* sequences = nullptr;
};

// As train() of trainer.h. TestResult::figures has every figure twice: "hit@10" and, with seen
// items excluded, "hit@10_unseen".
TrainResult train_sequences(const SequenceTask& task, const TrainOptions& options);

// User vectors [rows, D] of a split under the weights of `checkpoint`, by positive row, and the
// item vectors [items + 1, D] they score.
struct SequenceVectors {
  int64_t width = 0;
  std::vector<float> states, items;
};
SequenceVectors sequence_vectors(const SequenceTask& task, const TrainOptions& options,
                                 const std::filesystem::path& checkpoint, data::Split split);

}  // namespace llmcf::train
