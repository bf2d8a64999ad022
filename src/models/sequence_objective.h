// What a sequence model is trained for: that the state of a history scores the item taken next
// above others. Scores are inner products.
//
//   Q queries   U item rows of the batch   C candidates   D width   s+ the target's score
//
//   softmax    -log softmax(s)[target] over the whole catalogue
//   sampled    the same over the target and n uniform negatives that the batch shares; those equal
//   to
//              the target are left out (the LLM-CF authors' loss)
//   in_batch   the other queries' targets are the negatives, scores corrected by -log(share of the
//              item among training rows); Yi et al., "Sampling-Bias-Corrected Neural Modeling",
//              RecSys 2019
//   bpr        mean of softplus(s- - s+) over the shared negatives; Rendle et al., UAI 2009
//   gbce       beta softplus(-s+) + sum of softplus(s-), beta = a (t (1 - 1 / a) + 1 / a),
//              a = n / (items - 1), t the calibration; Petrov and Macdonald, "gSASRec", RecSys
//              2023 (not divided by n + 1: weight decay would outweigh it)
//
// Invariant: scores exist for a block of queries at a time, never for all; gradients are made with
// them, in the forward pass.
#pragma once

#include <cstdint>

#include <torch/types.h>

#include "models/options.h"
#include "models/sequence_batch.h"

namespace llmcf::models {

// states [Q, D], items [U, D] -> scalar, the mean over queries. For `softmax` the batch's item rows
// must be the whole table. Throws Error naming what the batch lacks.
torch::Tensor next_item_loss(const SequenceOptions& options, const torch::Tensor& states,
                             const torch::Tensor& items, const SequenceBatch& batch);

}  // namespace llmcf::models
