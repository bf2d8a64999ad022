// `llmcf llm tune FILE`: instruction files in, a model directory out. No libtorch in here.
//
//   model: path/to/model          # a directory in the Hugging Face layout
//   out: path/to/tuned            # a model directory, or an adapter's (lora)
//   device: auto                  # auto | cpu | cuda | cuda:1
//   dtype: auto                   # auto (float32 on cpu, else bfloat16) | float32 | bfloat16
//   chat: auto                    # auto | llama2 | llama3 | chatml | plain
//   seed: 2023
//   data:                         # weights are shares; without any, every conversation once
//     - {path: rec.json, weight: 2}
//     - {path: lima.json, weight: 1}
//     - {path: prose.txt, weight: 1}            # documents
//     - {path: chats.json, weight: 1, learn: all}   # learn: answers | all: questions as well
//   total: 0                      # conversations per epoch; 0 = as many as there are
//   valid_share: 0.02             # held out of each source, for the loss before and after
//   length: 1024                  # tokens of a row; longer conversations are cut at their end
//   pack: true                    # several conversations per row, apart from each other
//   tune:
//     epochs: 1
//     rows_per_step: 8
//     rows_at_once: 8             # the rest is accumulated
//     learning_rate: 1.0e-5
//     warm_up: 0.03               # share of the steps
//     last_rate: 0                # share of the rate that the cosine falls to
//     weight_decay: 0
//     betas: [0.9, 0.999]
//     epsilon: 1.0e-8
//     clip: 1                     # of the gradient's norm; 0 = never
//     anchor: none                # none | l1 | l2: to where the weights started
//     anchor_strength: 0
//     recompute: false            # a layer's activations are computed again for its gradients
//     save_every: 200             # steps
//     lora: {rank: 8, alpha: 16, dropout: 0, targets: [q_proj, v_proj]}   # absent: the whole model
//   memory_gib: 0                 # of the device; 0 = what this machine has (cpu), or not checked
#pragma once

#include <filesystem>

#include "core/config.h"

namespace llmcf::llm {

struct TuningReport {
  int64_t conversations = 0, rows = 0, steps = 0, cut = 0, dropped = 0;
  double valid_before = 0,
         valid_after = 0;  // mean negative log likelihood; 0 without held-out ones
  double first_loss = 0, last_loss = 0;
  std::filesystem::path out;
};

// Continues what a killed run of the same file and data left in `out`.state; the directory `out` is
// whole or absent. Throws Error naming what is wrong, and if memory cannot suffice.
TuningReport run_tuning(const Config& config);

}  // namespace llmcf::llm
