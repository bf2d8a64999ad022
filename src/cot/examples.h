// The in-context CoT data set: what the pool's accepted answers become, one mmapped file that
// retrieval and training read. (Sun et al., CIKM 2024, section 3.2.)
//
// Invariants:
//  1. At most one example per active job of the pool with an accepted, current answer; its text is
//     the best-scored one. Its row is a training row of the given RowSet: other jobs are left out,
//     and so is what ExampleOptions exclude.
//  2. Ordered by (time, user, position, label, item): what is older than a query is a prefix.
//  3. The same pool content, rows and encoder give the same bytes: nothing depends on the clock,
//     the number of threads or the order in which answers arrived (but for the answers' ids).
//  4. Whether an example is kept by `share` depends on its row and the seed alone, so that a larger
//     share contains a smaller one, whatever the other options.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/config.h"
#include "core/safetensors.h"
#include "cot/pool.h"
#include "data/dataset.h"
#include "data/rows.h"
#include "text/encoder.h"

namespace llmcf::cot {

// Which examples are written and how; the `pool` section of a run's configuration. Applied in this
// order; nothing is asked again.
//
//   pool:
//     min_score: 0       # examples whose answer scores lower are left out; scores lie in [0, 1]
//     top_share: 1.0     # of what is left, this share by score, best first, of each label apart
//     share: 1.0         # of the rows, this share at random
//     words: 0           # a chain of thought ends after so many words; 0 = all of it
//     encoder: run       # run | own: the run's text encoder, or an LSA of the same width that is
//                        # fitted on the chains of thought, whose words a catalogue may not have
//     shuffle: false     # control: every example gets the answer of another one with its label
//     seed: 2023         # of `share`, `shuffle`, and of the choice among equal scores
struct ExampleOptions {
  double min_score = 0;
  double top_share = 1;  // in (0, 1]; at least one example of each label that has any
  double share = 1;      // in (0, 1]
  int64_t words = 0;     // words are what white space separates
  bool own_encoder = false;
  bool shuffle = false;
  int64_t seed = 2023;

  // Reads the whole section. Throws InputError with file and line.
  static ExampleOptions from(const Config& config);
};

class ExampleSet {
 public:
  // Throws InputError if the file is missing, damaged or of another format version.
  explicit ExampleSet(const std::filesystem::path& path);

  int64_t size() const { return static_cast<int64_t>(user_.size()); }  // N
  int64_t width() const { return width_; }                             // W

  std::span<const int32_t> user() const { return user_; }          // [N] ids of the data set
  std::span<const int32_t> item() const { return item_; }          // [N]
  std::span<const int32_t> position() const { return position_; }  // [N] length of the history
  std::span<const float> label() const { return label_; }          // [N] 0 or 1
  std::span<const int64_t> time() const { return time_; }          // [N] Unix seconds, ascending
  std::span<const float> score() const { return score_; }          // [N] of the answer, in [0, 1]
  std::span<const int64_t> answer() const { return answer_; }      // [N] id in the pool
  // [N, W] row-major, unit length; of the space that encoder_fingerprint() names.
  std::span<const float> vectors() const { return vectors_; }
  std::span<const float> vector(int64_t index) const {
    return vectors_.subspan(static_cast<size_t>(index * width_), static_cast<size_t>(width_));
  }
  std::string_view text(int64_t index) const { return text_[index]; }

  // Where the texts come from, e.g. "template" or "endpoint:llama-3-8b", comma-separated.
  const std::string& reasoners() const { return reader_->metadata("reasoners"); }
  const std::string& encoder_fingerprint() const { return reader_->metadata("encoder"); }

 private:
  std::unique_ptr<SafetensorsReader> reader_;
  int64_t width_ = 0;
  std::span<const int32_t> user_, item_, position_;
  std::span<const float> label_, score_, vectors_;
  std::span<const int64_t> time_, answer_;
  StringColumn text_;
};

// The text up to the end of its `words`-th word; all of it if `words` is 0 or it has fewer.
std::string_view first_words(std::string_view text, int64_t words);

// Writes the file ExampleSet opens; returns the number of examples. Throws Error if there are none,
// naming the option to relax if it is one that leaves none.
int64_t write_examples(const Pool& pool, const data::Dataset& dataset, const data::RowSet& rows,
                       const text::Encoder& encoder, const std::filesystem::path& path,
                       const ExampleOptions& options = {});

}  // namespace llmcf::cot
