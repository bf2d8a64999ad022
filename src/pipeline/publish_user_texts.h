// What serving reads of the texts about users (KAR): the newest one of each.
#pragma once

#include <cstdint>
#include <vector>

#include "cot/knowledge_set.h"
#include "data/rows.h"

namespace llmcf::pipeline {

struct UserTexts {
  std::vector<float> vectors;   // [users + 1, W]; zeros where there is no text
  std::vector<int32_t> length;  // [users + 1] items of the history it was written about; 0 = none
};

// Of every user the text that their row with the longest history reads.
UserTexts newest_user_texts(const cot::KnowledgeSet& texts, const data::RowSet& rows,
                            const cot::UserPrefixes& prefixes, int64_t users);

}  // namespace llmcf::pipeline
