// Records as Python dicts, one per line (the Amazon metadata of 2014).
#include <fmt/format.h>

#include "core/strings.h"
#include "data/parsers.h"
#include "data/python_literal.h"

namespace llmcf::data {

namespace {

// Keeps the wanted keys of the outermost dict; lists below them are flattened.
class WantedKeys final : public PythonEvents {
 public:
  WantedKeys(const std::vector<std::string>& keys, Batch& batch, size_t row)
      : keys_(keys), batch_(batch), cells_(batch.cells.data() + row * batch.columns) {}

  void key(int depth, std::string_view name) override {
    if (depth != 0) return;
    column_ = keys_.size();
    for (size_t index = 0; index < keys_.size(); ++index) {
      if (name == keys_[index]) column_ = index;
    }
    text_.clear();
    if (column_ < keys_.size()) batch_.seen[column_] = 1;
  }
  void begin_dict(int depth) override {
    if (depth == 0)
      is_dict = true;
    else if (wanted())
      object_in = keys_[column_];
  }
  void begin_list(int) override {}
  void end(int depth) override {
    if (depth == 1 && wanted()) cells_[column_] = batch_.arena.copy(text_);
  }
  void scalar(int depth, std::string_view text) override {
    if (!wanted()) return;
    if (depth == 1) {
      cells_[column_] = batch_.arena.copy(text);
    } else {
      text_ += kListMark;
      text_ += text;
    }
  }

  bool is_dict = false;
  std::string object_in;  // the wanted key that holds a dict, if one does

 private:
  bool wanted() const { return column_ < keys_.size(); }

  const std::vector<std::string>& keys_;
  Batch& batch_;
  std::string_view* cells_;
  size_t column_ = SIZE_MAX;
  std::string text_;
};

class PythonParser final : public RecordParser {
 public:
  explicit PythonParser(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  void parse(Batch& batch) const override {
    const std::string& text = batch.block.text;
    int64_t line = batch.block.first_line;
    batch.seen.assign(keys_.size(), 0);
    for (size_t begin = 0; begin < text.size(); ++line) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string_view record = trim(std::string_view(text).substr(begin, end - begin));
      begin = end + 1;
      if (record.empty()) continue;
      batch.lines.push_back(line);
      batch.cells.resize(batch.cells.size() + batch.columns);
      parse_record(record, batch);
    }
  }

 private:
  void parse_record(std::string_view record, Batch& batch) const {
    const size_t row = batch.rows() - 1;
    WantedKeys events(keys_, batch, row);
    const std::string problem = parse_python_literal(record, events);
    if (!problem.empty()) {
      batch.reject(row, Fault::kMalformed, "not a Python literal: " + problem);
    } else if (!events.is_dict) {
      batch.reject(row, Fault::kMalformed, "expected a Python dict, {...}");
    } else if (!events.object_in.empty()) {
      batch.reject(row, Fault::kMalformed,
                   fmt::format("'{}' holds a dict; expected a value or a list", events.object_in));
    }
  }

  std::vector<std::string> keys_;
};

}  // namespace

std::unique_ptr<RecordParser> make_python_parser(std::vector<std::string> keys) {
  return std::make_unique<PythonParser>(std::move(keys));
}

}  // namespace llmcf::data
