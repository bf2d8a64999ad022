// Makes what ExampleSearch reads, once, when a run is published.
//
//   retrieval.user_fold i32 [U + 1]          the set of vectors a user is compared by
//   retrieval.items.<f> f32 [I + 1, V]       item vectors t of fold f
//   retrieval.history.<f> f32 [N, V]         history vectors h of the examples
//   retrieval.error, retrieval.half_error f32 [folds]   of the scans of h, history_scan.h
//   retrieval.columns.<y> i32                examples of label y, those about one item together
//   retrieval.group_item.<y> i32 [G], retrieval.group_begin.<y> i32 [G + 1]
//   retrieval.scan.<f>.<y> ...               h in half precision, history_scan.h
//   retrieval.neighbours.<f>.<y> i32 [M / 32, I + 1, 32], retrieval.neighbour_similarity.<f>.<y>
//                                            f32: the most similar groups of every item, best
//                                            first, in parts (catalogue.h)
//
//   I items   N examples   V width   G groups   M = min(G, neighbours)
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "core/safetensors.h"
#include "retrieval/assign.h"
#include "retrieval/options.h"
#include "serve/history_scan.h"

namespace llmcf::serve {

struct SearchSource {
  retrieval::Pool pool;                   // may be empty: alignments only
  std::vector<retrieval::Texts> vectors;  // by fold
  std::vector<int32_t> user_fold;         // [U + 1]
  retrieval::HistoryLookup histories;     // of the pool's users
  retrieval::RetrievalOptions options;
  int64_t neighbours = 256;  // longest static list; longer ones close more candidates
  ScanOptions scan;
};

class SearchIndex {
 public:
  // On all threads.
  explicit SearchIndex(const SearchSource& source);

  // The tensors; valid as long as this and the source's vectors.
  void add_to(SafetensorsWriter& writer) const;
  int64_t neighbours() const { return longest_; }

 private:
  struct Label {
    int label = 0;
    std::vector<int32_t> columns, item, begin;
  };
  struct Lists {
    int label = 0;
    int64_t fold = 0;
    int64_t length = 0;
    std::unique_ptr<ScanTensors> scan;
    std::vector<int32_t> group;
    std::vector<float> similarity;
  };

  void group(int label);
  void add_fold(int64_t fold);
  void find_neighbours(const retrieval::Texts& vectors, Lists& lists, const Label& label) const;

  const SearchSource source_;
  int64_t longest_ = 0;
  std::vector<Label> labels_;
  std::deque<Lists> lists_;                   // stay where they are
  std::deque<std::vector<float>> histories_;  // by fold
  std::vector<float> errors_, half_errors_;   // by fold
};

}  // namespace llmcf::serve
