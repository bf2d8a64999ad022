#include "pipeline/publish_user_texts.h"

#include <algorithm>
#include <limits>

namespace llmcf::pipeline {

UserTexts newest_user_texts(const cot::KnowledgeSet& texts, const data::RowSet& rows,
                            const cot::UserPrefixes& prefixes, int64_t users) {
  const int64_t width = texts.width();
  const auto vectors = texts.user_vectors();
  UserTexts result{.vectors = std::vector<float>(static_cast<size_t>((users + 1) * width)),
                   .length = std::vector<int32_t>(static_cast<size_t>(users) + 1)};
  std::vector<int32_t> newest(static_cast<size_t>(users) + 1);
  std::vector<int32_t> position(newest.size(), -1);
  // A row that reads a shorter prefix's text (its own is missing) shares it with rows of that
  // prefix: the shortest prefix of all that read a text is what it was written about.
  std::vector<int32_t> seen(vectors.size() / static_cast<size_t>(std::max<int64_t>(width, 1)),
                            std::numeric_limits<int32_t>::max());
  for (const data::Split split : data::kAllSplits) {
    const data::Rows& part = rows.rows(split);
    const auto row_of = texts.user_row(split);
    for (size_t row = 0; row < row_of.size(); ++row) {
      const auto user = static_cast<size_t>(part.user[row]);
      const auto text = static_cast<size_t>(row_of[row]);
      seen[text] = std::min(seen[text], prefixes.of(part.user[row], part.position[row]));
      if (part.position[row] <= position[user]) continue;
      position[user] = part.position[row];
      newest[user] = row_of[row];
    }
  }
  for (size_t user = 0; user < newest.size(); ++user) {
    if (newest[user] == 0) continue;
    result.length[user] = seen[static_cast<size_t>(newest[user])];
    std::copy_n(vectors.begin() + newest[user] * width, width,
                result.vectors.begin() + static_cast<int64_t>(user) * width);
  }
  return result;
}

}  // namespace llmcf::pipeline
