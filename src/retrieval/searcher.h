// The search of assign.h for one request at a time: many candidate items, one user.
//
// The user half is one pass over the pool per request and is shared by all its candidates. Results
// equal those of assign() for the same rows, bit for bit.
//
// Thread safety: search() is const and may be called from several threads; each call uses only the
// calling thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "retrieval/assign.h"

namespace llmcf::retrieval {

// One user at one moment. `history` is the vector h(q), [width]; user 0 is nobody in the pool.
struct Request {
  int32_t user = 0;
  int32_t position = 0;
  int64_t time = 0;
  std::span<const float> history;
};

class Searcher {
 public:
  // Copies what it needs of the pool (2 x N x width floats); `texts` must outlive the searcher.
  Searcher(const Pool& pool, const Texts& texts, const HistoryLookup& histories,
           const RetrievalOptions& options);
  ~Searcher();
  Searcher(Searcher&&) noexcept;
  Searcher& operator=(Searcher&&) noexcept;

  // Examples for every candidate, in order. With `order: random`, candidate i is shuffled as row i.
  Assignment search(const Request& request, std::span<const int32_t> candidates) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace llmcf::retrieval
