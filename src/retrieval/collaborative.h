// Item vectors from the log: items that the same people take lie close. Beside the texts, and the
// chains of thought (reasoned.h), they make the similarity that finds examples. With c and r the
// weights of log and reasons:
//
//   v(i) = [ sqrt(1 - c - r) text(i), sqrt(c) log(i), sqrt(r) reason(i) ],
//
// so that v(i).v(j) is the weighted sum of the three cosines.
//
// log(i) is row i of V S, scaled to unit length, where U S V' is the truncated singular value
// decomposition of the user-item matrix with entries 1 / sqrt((items of the user + 1) (users of the
// item + 3)): latent semantic analysis with people for documents (Deerwester et al. 1990; Cremonesi
// et al. 2010 recommend with it).
//
// Invariants:
//  1. Only what the training split knows is counted: a user's items up to the last training
//     positive.
//  2. Cross-fitted: users are dealt into `folds` parts, and a user's rows are compared by vectors
//     that the users of the other parts made. Nobody's own purchases, and nothing reasoned about
//     them, make a training row's target look close to its history, so similarities of training
//     rows mean what those of test rows mean.
//  3. Items that nobody of the other folds took have no log half (zeros).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "retrieval/assign.h"
#include "retrieval/reasoned.h"

namespace llmcf::retrieval {

// By user (index 0: nobody): the items that training knows of, oldest first.
using KnownItems = std::vector<std::span<const int32_t>>;
KnownItems known_items(const data::RowSet& rows, int64_t users);

class ItemVectors {
 public:
  // `texts` as in assign(); `reasons` may be empty if they weigh nothing. Folds and seed are those
  // of `options`. With both weights 0 the vectors are the texts', one fold for everybody.
  ItemVectors(const KnownItems& known, const Texts& texts, const Reasons& reasons,
              const RetrievalOptions& options);

  int64_t folds() const { return static_cast<int64_t>(vectors_.size()); }
  // Users the log did not know belong to fold 0.
  int64_t fold_of(int32_t user) const {
    const auto index = static_cast<size_t>(user);
    return index < fold_.size() ? fold_[index] : 0;
  }
  // [items + 1, width]; alive as long as this is.
  Texts of_fold(int64_t fold) const {
    return {.item_text = vectors_[static_cast<size_t>(fold)], .width = width_};
  }

 private:
  // Unit rows [items, width], those of unknown items zeros.
  std::vector<float> log_vectors(const KnownItems& known, int64_t items,
                                 const RetrievalOptions& options, int64_t fold) const;
  bool counts_for(size_t user, int64_t fold, int64_t folds) const {
    return folds == 1 || fold_[user] != fold;
  }

  int64_t width_ = 0;
  std::vector<int32_t> fold_;                // by user
  std::vector<std::vector<float>> vectors_;  // by fold
};

// assign() with every query compared by the vectors of its user's fold; result i belongs to
// parts[i], its similarities are those of the vectors v. Throws as assign() does.
std::vector<Assignment> assign_by_fold(const Pool& pool, std::span<const Queries> parts,
                                       const ItemVectors& vectors, const HistoryLookup& histories,
                                       const RetrievalOptions& options);

}  // namespace llmcf::retrieval
