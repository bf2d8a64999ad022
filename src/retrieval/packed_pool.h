// The pool as the inner loops want it: one group of columns per label, latest example first,
// vectors packed into column panels.
//
// Invariants:
//  1. Within a group, columns are ordered by (time descending, example id ascending). The examples
//     older than some moment are therefore a suffix, and a scan in column order meets equal scores
//     in the order that breaks ties.
//  2. Columns [0, size()) are examples; those up to the end of the last panel hold zeros.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <hwy/aligned_allocator.h>

#include "retrieval/assign.h"
#include "retrieval/selector.h"

namespace llmcf::retrieval {

// Floats at a multiple of 64 bytes, not initialised.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(int64_t size);

  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }

 private:
  hwy::AlignedFreeUniquePtr<float[]> data_;
};

// Packs rows of a row-major matrix: row i of the result is source row indices[i], or zeros where
// indices[i] < 0. Layouts as in kernels.h; `out` must hold the padded size.
void pack_rows(const float* source, std::span<const int32_t> indices, int64_t width, float* out);
void pack_columns(const float* source, std::span<const int32_t> indices, int64_t width, float* out);

// Sizes rounded up to whole panels.
int64_t padded_rows(int64_t rows);
int64_t padded_columns(int64_t columns);

// The examples of one label.
struct LabelGroup {
  int64_t wanted = 0;  // slots per query
  std::vector<int32_t> example;
  std::vector<int32_t> user;
  std::vector<int32_t> position;
  std::vector<int64_t> time;  // descending
  AlignedFloats history;      // column panels; empty if the history half has no weight
  AlignedFloats target;       // column panels; empty if the target half has no weight

  int64_t size() const { return static_cast<int64_t>(example.size()); }
  ColumnInfo info() const { return {.user = user, .position = position}; }
  // First column whose time is earlier than `time`.
  int64_t first_before(int64_t time) const;
};

struct PackedPool {
  int64_t examples = 0;            // N
  std::vector<float> history;      // [N, width] row-major
  std::vector<int32_t> item;       // [N]
  std::vector<LabelGroup> groups;  // positives, negatives; a label nobody wants is left out

  PackedPool(const Pool& pool, const Texts& texts, const HistoryLookup& histories,
             const RetrievalOptions& options);
};

// Throws Error unless all spans have one length and ids are in range of the texts.
void check_pool(const Pool& pool, const Texts& texts);
void check_queries(const Queries& queries, const Texts& texts);
void check_options(const RetrievalOptions& options);

}  // namespace llmcf::retrieval
