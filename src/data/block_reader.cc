#include "data/block_reader.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

namespace llmcf::data {

BlockReader::BlockReader(const Table& table, size_t block_bytes)
    : name_(table.path.string()),
      source_(open_bytes(table.path)),
      quoted_(table.syntax == Syntax::kDelimited && table.quoted),
      separator_(table.separator.empty() ? ',' : table.separator.back()),
      block_bytes_(std::max<size_t>(block_bytes, 8)) {}

void BlockReader::fail(const std::string& reason) const {
  const auto lines = std::count(carry_.begin(), carry_.end(), '\n');
  throw InputError(name_, line_ + lines, reason);
}

bool BlockReader::fill(size_t wanted) {
  size_t size = carry_.size();
  carry_.resize(std::max(wanted, size));
  bool more = true;
  while (more && size < wanted) {
    size_t got = 0;
    try {
      got = source_->read(carry_.data() + size, wanted - size);
    } catch (const DamagedData& damage) {
      carry_.resize(size);
      fail(damage.what());
    }
    more = got > 0;
    size += got;
  }
  carry_.resize(size);
  if (start_ && carry_.starts_with("\xEF\xBB\xBF")) carry_.erase(0, 3);
  start_ = false;
  return more;
}

size_t BlockReader::last_record_end() const {
  const std::string_view text = carry_;
  size_t end = 0;
  size_t outside = 0;  // where the current stretch outside quotes begins
  const auto settle = [&](size_t to) {
    if (to == outside) return;
    const void* found = memrchr(text.data() + outside, '\n', to - outside);
    if (found != nullptr)
      end = static_cast<size_t>(static_cast<const char*>(found) - text.data()) + 1;
  };
  if (quoted_) {
    for (size_t at = text.find('"'); at != std::string_view::npos; at = text.find('"', at)) {
      const bool opens = at == 0 || text[at - 1] == '\n' || text[at - 1] == separator_;
      if (!opens) {
        ++at;
        continue;
      }
      settle(at);
      size_t close = text.find('"', at + 1);
      while (close != std::string_view::npos && close + 1 < text.size() && text[close + 1] == '"')
        close = text.find('"', close + 2);
      if (close == std::string_view::npos) return end;
      at = outside = close + 1;
    }
  }
  settle(text.size());
  return end;
}

bool BlockReader::next(Block& block) {
  size_t wanted = block_bytes_;
  bool more = fill(wanted);
  size_t end = more ? last_record_end() : carry_.size();
  while (more && end == 0) {
    if (carry_.size() >= kRecordBytes)
      fail("a record of more than 64 MiB; is a quote never closed, or is this no text file?");
    wanted = carry_.size() * 2;
    more = fill(wanted);
    end = more ? last_record_end() : carry_.size();
  }
  if (end == 0) return false;
  block.text.reserve(end + Block::kPadding);
  block.text.assign(carry_, 0, end);
  block.first_line = line_;
  line_ += std::count(block.text.begin(), block.text.end(), '\n');
  carry_.erase(0, end);
  return true;
}

}  // namespace llmcf::data
