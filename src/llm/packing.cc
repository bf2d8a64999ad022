#include "llm/packing.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::llm {

namespace {

constexpr size_t kOpenRows = 64;

struct Row {
  int64_t used = 0;
  int64_t segments = 0;
};

}  // namespace

PackedRows pack(const std::vector<TokenizedText>& texts, int64_t length, bool apart) {
  if (length < 2) throw Error(fmt::format("rows of {} tokens: at least 2 are needed", length));
  PackedRows packed{.length = length, .ids = {}, .positions = {}, .segments = {}, .targets = {}};
  std::vector<Row> rows;
  const auto open = [&] {
    rows.emplace_back();
    const size_t size = packed.ids.size() + static_cast<size_t>(length);
    packed.ids.resize(size, 0);
    packed.positions.resize(size, 0);
    packed.segments.resize(size, -1);
    packed.targets.resize(size, -1);
    return rows.size() - 1;
  };
  for (const TokenizedText& text : texts) {
    const auto size = std::min(static_cast<int64_t>(text.ids.size()), length);
    // Token i is learned as the target of token i - 1.
    if (std::find(text.learned.begin() + std::min<int64_t>(1, size), text.learned.begin() + size,
                  1) == text.learned.begin() + size) {
      ++packed.dropped;
      continue;
    }
    packed.cut += size < static_cast<int64_t>(text.ids.size());
    size_t row = rows.size() > kOpenRows ? rows.size() - kOpenRows : 0;
    while (row < rows.size() && (apart || rows[row].used + size > length))
      ++row;
    if (row == rows.size()) row = open();
    const auto start = static_cast<size_t>(static_cast<int64_t>(row) * length + rows[row].used);
    for (int64_t i = 0; i < size; ++i) {
      const size_t at = start + static_cast<size_t>(i);
      packed.ids[at] = text.ids[static_cast<size_t>(i)];
      packed.positions[at] = i;
      packed.segments[at] = rows[row].segments;
      if (i + 1 < size && text.learned[static_cast<size_t>(i) + 1] != 0)
        packed.targets[at] = text.ids[static_cast<size_t>(i) + 1];
    }
    rows[row].used += size;
    ++rows[row].segments;
  }
  return packed;
}

}  // namespace llmcf::llm
