// Records whose columns lie between separators. One pass over the bytes when the separator is one
// byte; a cell is a slice of the block unless a doubled quote has to be undone.
#include <cstring>

#include <fmt/format.h>

#include "core/strings.h"
#include "data/parsers.h"

namespace llmcf::data {

namespace {

// Cuts one record into cells.
class RecordCutter {
 public:
  RecordCutter(const Table& table, Arena& arena)
      : separator_(table.separator), quoted_(table.quoted), arena_(arena) {}

  // Calls cell(index, text) for every cell of the record at `begin` and returns where the next one
  // begins. `count` is the number of cells; `broken` says why the record is malformed, or is null.
  template <typename F>
  const char* cut(const char* begin, const char* end, F&& cell) {
    count = 0;
    newlines = 0;
    broken = nullptr;
    const char first = separator_.front();
    const bool single = separator_.size() == 1;
    const char* at = begin;
    for (;;) {
      if (quoted_ && at < end && *at == '"') {
        at = cut_quoted(at, end, cell);
      } else {
        const char* start = at;
        while (at < end && *at != '\n' && !(*at == first && (single || separator_at(at, end))))
          ++at;
        const bool carriage = at > start && at[-1] == '\r' && (at == end || *at == '\n');
        cell(count++, std::string_view(start, static_cast<size_t>(at - start - carriage)));
      }
      if (at >= end) return end;
      if (*at == '\n') {
        ++newlines;
        return at + 1;
      }
      at += separator_.size();
    }
  }

  size_t count = 0;
  int64_t newlines = 0;  // line ends within and behind the record
  const char* broken = nullptr;

 private:
  bool separator_at(const char* at, const char* end) const {
    return static_cast<size_t>(end - at) >= separator_.size() &&
           std::memcmp(at, separator_.data(), separator_.size()) == 0;
  }

  // `at` is on the opening quote. Returns the separator or line end behind the cell.
  template <typename F>
  const char* cut_quoted(const char* at, const char* end, F&& cell) {
    const char* start = ++at;
    bool doubled = false;
    for (;; ++at) {
      at = static_cast<const char*>(std::memchr(at, '"', static_cast<size_t>(end - at)));
      if (at == nullptr) {
        broken = "a quote is opened and never closed";
        return end;
      }
      if (at + 1 >= end || at[1] != '"') break;
      doubled = true;
      ++at;
    }
    const std::string_view raw(start, static_cast<size_t>(at - start));
    for (const char byte : raw)
      newlines += byte == '\n';
    cell(count++, doubled ? undouble(raw) : raw);
    ++at;
    if (at < end && *at == '\r' && (at + 1 == end || at[1] == '\n')) ++at;
    const char* rest = at;
    while (at < end && *at != '\n' && !separator_at(at, end))
      ++at;
    if (at != rest) broken = "text behind a closing quote; double the quotes inside a cell";
    return at;
  }

  std::string_view undouble(std::string_view raw) {
    char* out = arena_.reserve(raw.size());
    size_t size = 0;
    for (size_t at = 0; at < raw.size(); ++at) {
      out[size++] = raw[at];
      if (raw[at] == '"') ++at;
    }
    return {out, size};
  }

  std::string separator_;
  bool quoted_;
  Arena& arena_;
};

class DelimitedParser final : public RecordParser {
 public:
  DelimitedParser(Table table, std::vector<int> slots)
      : table_(std::move(table)), slots_(std::move(slots)) {}

  void parse(Batch& batch) const override {
    RecordCutter cutter(table_, batch.arena);
    const char* at = batch.block.text.data();
    const char* const end = at + batch.block.text.size();
    int64_t line = batch.block.first_line;
    while (at < end) {
      const size_t base = batch.cells.size();
      batch.cells.resize(base + batch.columns);
      std::string_view* row = batch.cells.data() + base;
      size_t bytes = 0;
      at = cutter.cut(at, end, [&](size_t index, std::string_view text) {
        bytes += text.size();
        if (index < slots_.size() && slots_[index] >= 0) row[slots_[index]] = text;
      });
      if (cutter.count == 1 && bytes == 0 && cutter.broken == nullptr) {
        batch.cells.resize(base);  // an empty line
      } else {
        batch.lines.push_back(line);
        check(cutter, batch);
      }
      line += cutter.newlines;
    }
  }

 private:
  void check(const RecordCutter& cutter, Batch& batch) const {
    if (cutter.broken != nullptr) {
      batch.reject(batch.rows() - 1, Fault::kMalformed, cutter.broken);
    } else if (cutter.count != slots_.size()) {
      batch.reject(batch.rows() - 1, Fault::kMalformed,
                   fmt::format("expected {} columns, found {}", slots_.size(), cutter.count));
    }
  }

  Table table_;
  std::vector<int> slots_;
};

}  // namespace

std::vector<std::string> first_record(const Table& table, const Block& block) {
  std::vector<std::string> cells;
  Arena arena;
  RecordCutter cutter(table, arena);
  const char* begin = block.text.data();
  if (block.text.empty()) return cells;
  cutter.cut(begin, begin + block.text.size(),
             [&](size_t, std::string_view text) { cells.emplace_back(text); });
  return cells;
}

std::unique_ptr<RecordParser> make_delimited_parser(const Table& table, std::vector<int> slots) {
  return std::make_unique<DelimitedParser>(table, std::move(slots));
}

}  // namespace llmcf::data
