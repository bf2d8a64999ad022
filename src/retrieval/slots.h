// From the best columns of each label to the slots of one row. Shared by assign() and Searcher.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "retrieval/packed_pool.h"

namespace llmcf::retrieval {

// The selectors' memory for many queries: per label group [queries, wanted].
class BestColumns {
 public:
  BestColumns(const PackedPool& pool, int64_t queries, double min_similarity);

  Selector selector(size_t group, int64_t query);
  std::span<const float> scores(size_t group, int64_t query) const;
  std::span<const int32_t> columns(size_t group, int64_t query) const;

 private:
  struct Group {
    int64_t wanted = 0;
    ColumnInfo info;
    std::vector<float> scores;
    std::vector<int32_t> columns;
  };
  std::vector<Group> groups_;
};

// An assignment with all slots masked.
Assignment empty_assignment(int64_t rows, int64_t k);

// One query and where its best columns are.
struct SlotSource {
  const float* history = nullptr;  // h(q), [width]
  int32_t item = 0;
  int64_t query = 0;  // in the BestColumns
};

// Fills row `row` of the assignment: masked slots, then the examples in the wanted order.
void fill_slots(const PackedPool& pool, const Texts& texts, const RetrievalOptions& options,
                const BestColumns& best, const SlotSource& source, int64_t row, Assignment& out);

// The last position at which the query's own user's examples are eligible.
int32_t last_own_position(const RetrievalOptions& options, int32_t position);

}  // namespace llmcf::retrieval
