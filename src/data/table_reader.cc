#include "data/table_reader.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include "core/error.h"
#include "core/progress.h"
#include "core/strings.h"
#include "core/threads.h"
#include "data/parsers.h"

namespace llmcf::data {

namespace {

void add_unique(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

std::string latin1_to_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8 + Block::kPadding);
  for (const char byte : text) {
    const auto code = static_cast<unsigned char>(byte);
    if (code < 0x80) {
      out += byte;
    } else {
      out += static_cast<char>(0xC0 | (code >> 6));
      out += static_cast<char>(0x80 | (code & 0x3F));
    }
  }
  return out;
}

// "1995" from "Toy Story (1995)"; empty if the title does not end so.
std::string_view year_in_title(std::string_view title) {
  title = trim(title);
  if (title.size() < 6 || title.back() != ')') return {};
  const std::string_view year = title.substr(title.size() - 5, 4);
  if (title[title.size() - 6] != '(' || !parse_int(year)) return {};
  return year;
}

}  // namespace

TableReader::TableReader(const Table& table, const std::vector<std::string>& columns,
                         FaultCounter& faults)
    : table_(table), faults_(faults), blocks_(table) {
  resolve(columns);
  if (table_.syntax == Syntax::kDelimited)
    resolve_header();
  else if (table_.syntax == Syntax::kJsonLines)
    parser_ = make_json_parser(raw_);
  else
    parser_ = make_python_parser(raw_);
  seen_.assign(raw_.size(), 0);
}

TableReader::~TableReader() = default;

void TableReader::resolve(const std::vector<std::string>& columns) {
  for (const std::string& name : columns) {
    const auto rule = std::find_if(table_.derived.begin(), table_.derived.end(),
                                   [&](const DerivedColumn& entry) { return entry.name == name; });
    if (rule == table_.derived.end()) {
      add_unique(raw_, name);
      continue;
    }
    derived_.push_back(*rule);
    for (const std::string& source : rule->sources)
      add_unique(raw_, source);
  }
}

void TableReader::resolve_header() {
  has_first_ = blocks_.next(first_);
  std::vector<std::string> names = first_record(table_, first_);
  if (!table_.header) {
    for (size_t index = 0; index < names.size(); ++index)
      names[index] = std::to_string(index + 1);
  }
  for (std::string& name : names) {
    name = std::string(trim(name));
    if (table_.typed_header) name = name.substr(0, name.rfind(':'));
  }
  if (names.empty() && table_.header)
    throw InputError(table_.path.string(), 1, "the file is empty; expected a header with columns");
  std::vector<int> slots(names.size(), -1);
  for (size_t slot = 0; slot < raw_.size(); ++slot) {
    const auto found = std::find(names.begin(), names.end(), raw_[slot]);
    if (found == names.end() && !names.empty()) {
      throw InputError(
          table_.path.string(), 1,
          fmt::format("missing column '{}'; the file has: {}", raw_[slot], fmt::join(names, ", ")));
    }
    if (found != names.end()) slots[static_cast<size_t>(found - names.begin())] = int(slot);
  }
  parser_ = make_delimited_parser(table_, std::move(slots));
}

size_t TableReader::slot(const std::string& name) const {
  for (size_t index = 0; index < derived_.size(); ++index) {
    if (derived_[index].name == name) return raw_.size() + index;
  }
  const auto found = std::find(raw_.begin(), raw_.end(), name);
  LLMCF_ASSERT(found != raw_.end());
  return static_cast<size_t>(found - raw_.begin());
}

bool TableReader::load(Batch& batch) {
  if (has_first_) {
    has_first_ = false;
    batch.block = std::move(first_);
    return true;
  }
  return blocks_.next(batch.block);
}

int64_t TableReader::read(const Work& work, const Row& row) {
  const auto width = static_cast<int64_t>(thread_count());
  Progress progress("read " + table_.path.filename().string(), 0, "rows");
  int64_t records = 0;
  bool header = table_.syntax == Syntax::kDelimited && table_.header;
  for (bool more = true; more;) {
    std::vector<Batch> batches;
    while (more && static_cast<int64_t>(batches.size()) < width) {
      Batch batch;
      more = load(batch);
      if (more) batches.push_back(std::move(batch));
    }
    parallel_chunks(static_cast<int64_t>(batches.size()), 1, [&](int64_t begin, int64_t, int) {
      process(batches[static_cast<size_t>(begin)], work);
    });
    for (const Batch& batch : batches) {
      deliver(batch, row);
      records += static_cast<int64_t>(batch.rows());
      progress.advance(static_cast<int64_t>(batch.rows()));
      for (size_t column = 0; column < batch.seen.size(); ++column)
        seen_[column] |= batch.seen[column];
    }
  }
  if (header && records > 0) --records;
  if (table_.syntax != Syntax::kDelimited && records > 0) check_seen();
  return records;
}

void TableReader::check_seen() const {
  for (size_t column = 0; column < raw_.size(); ++column) {
    if (seen_[column] != 0) continue;
    throw InputError(table_.path.string(), 0,
                     fmt::format("missing column '{}': no record has that key; name another "
                                 "column, or list the fields you want under `fields:`",
                                 raw_[column]));
  }
}

void TableReader::process(Batch& batch, const Work& work) const {
  if (table_.latin1) batch.block.text = latin1_to_utf8(batch.block.text);
  batch.columns = raw_.size() + derived_.size();
  const bool valid = simdjson::validate_utf8(batch.block.text);
  parser_->parse(batch);
  const bool header = table_.syntax == Syntax::kDelimited && table_.header;
  if (header && batch.block.first_line == 1 && batch.rows() > 0) {
    batch.lines[0] = 0;
    std::erase_if(batch.bad, [](const BadRow& row) { return row.line == 1; });
  }
  const auto stands_for_nothing = [&](std::string_view cell) {
    return std::find(table_.missing.begin(), table_.missing.end(), cell) != table_.missing.end();
  };
  if (!table_.missing.empty()) {
    for (std::string_view& cell : batch.cells) {
      if (stands_for_nothing(cell)) cell = {};
    }
  }
  for (size_t row = 0; row < batch.rows() && !valid; ++row) {
    for (size_t column = 0; column < raw_.size() && batch.lines[row] != 0; ++column) {
      const auto byte = first_invalid_utf8(batch.cell(row, column));
      if (!byte) continue;
      batch.reject(
          row, Fault::kEncoding,
          fmt::format("column '{}', byte {}; convert the file to UTF-8", raw_[column], *byte + 1));
    }
  }
  derive(batch);
  work(batch);
  std::stable_sort(batch.bad.begin(), batch.bad.end(),
                   [](const BadRow& a, const BadRow& b) { return a.line < b.line; });
}

void TableReader::derive(Batch& batch) const {
  std::string text;
  for (size_t index = 0; index < derived_.size(); ++index) {
    const DerivedColumn& rule = derived_[index];
    std::vector<size_t> sources;
    for (const std::string& source : rule.sources)
      sources.push_back(slot(source));
    for (size_t row = 0; row < batch.rows(); ++row) {
      std::string_view& cell = batch.cells[row * batch.columns + raw_.size() + index];
      if (rule.rule == DerivedColumn::Rule::kYearInTitle) {
        cell = year_in_title(batch.cell(row, sources[0]));
        continue;
      }
      text.clear();
      for (size_t flag = 0; flag < sources.size(); ++flag) {
        if (batch.cell(row, sources[flag]) == "1") text += kListMark + rule.labels[flag];
      }
      cell = batch.arena.copy(text);
    }
  }
}

void TableReader::deliver(const Batch& batch, const Row& row) {
  size_t bad = 0;
  for (size_t index = 0; index < batch.rows(); ++index) {
    if (batch.lines[index] == 0) continue;
    while (bad < batch.bad.size() && batch.bad[bad].line < batch.lines[index])
      faults_.add(table_.path.string(), batch.bad[bad++]);
    row(batch, index);
  }
  while (bad < batch.bad.size())
    faults_.add(table_.path.string(), batch.bad[bad++]);
}

void TableReader::fault(int64_t line, Fault fault, std::string reason) {
  faults_.add(table_.path.string(), {line, fault, std::move(reason)});
}

}  // namespace llmcf::data
