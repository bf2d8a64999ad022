// From a job's names back to the ids of the data set, and to its facts.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "cot/facts.h"
#include "cot/pool.h"
#include "data/dataset.h"
#include "data/rows.h"

namespace llmcf::cot {

// REQUIRES: data set and rows outlive it. Thread safety: const after construction.
class RowResolver {
 public:
  RowResolver(const data::Dataset& dataset, const data::RowSet& rows);

  // Ids by name; 0 = unknown.
  int32_t user(std::string_view name) const;
  int32_t item(std::string_view name) const;
  // REQUIRES: the job is in the active sample, so that its names are known.
  Facts facts(const JobRow& row, bool tell_decision, int64_t max_history) const;
  // Of ids, without a decision: user 0 has no history, item 0 no target.
  Facts facts(int32_t user, int32_t position, int32_t item, int64_t max_history) const;

 private:
  const data::RowSet& rows_;
  FactBook book_;
  std::unordered_map<std::string_view, int32_t> users_;
  std::unordered_map<std::string_view, int32_t> items_;
};

}  // namespace llmcf::cot
