// Records as JSON objects, one per line, with simdjson.
#include <cstring>

#include <fmt/format.h>
#include <simdjson.h>

#include "core/strings.h"
#include "data/parsers.h"

namespace llmcf::data {

namespace {

namespace dom = simdjson::dom;

// A scalar as text; false for objects and arrays.
bool scalar_text(const dom::element& value, std::string& text) {
  switch (value.type()) {
    case dom::element_type::STRING:
      text.append(std::string_view(value));
      return true;
    case dom::element_type::INT64:
      fmt::format_to(std::back_inserter(text), "{}", int64_t(value));
      return true;
    case dom::element_type::UINT64:
      fmt::format_to(std::back_inserter(text), "{}", uint64_t(value));
      return true;
    case dom::element_type::DOUBLE:
      fmt::format_to(std::back_inserter(text), "{}", double(value));
      return true;
    case dom::element_type::BOOL:
      text.append(bool(value) ? "true" : "false");
      return true;
    case dom::element_type::NULL_VALUE:
      return true;
    default:
      return false;
  }
}

// Appends every scalar of a possibly nested array behind a list mark; false if it holds an object.
bool list_text(const dom::array& array, std::string& text) {
  for (const dom::element value : array) {
    if (value.is_array()) {
      if (!list_text(value, text)) return false;
    } else {
      text += kListMark;
      if (!scalar_text(value, text)) return false;
    }
  }
  return true;
}

class JsonParser final : public RecordParser {
 public:
  explicit JsonParser(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  void parse(Batch& batch) const override {
    dom::parser parser;
    std::string scratch;
    // The block has room for simdjson's padding behind it, and every line has the rest of the
    // block.
    std::string& text = batch.block.text;
    static_assert(Block::kPadding >= simdjson::SIMDJSON_PADDING);
    text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
    int64_t line = batch.block.first_line;
    batch.seen.assign(keys_.size(), 0);
    for (size_t begin = 0; begin < text.size(); ++line) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      const std::string_view record(text.data() + begin, end - begin);
      begin = end + 1;
      if (trim(record).empty()) continue;
      batch.lines.push_back(line);
      batch.cells.resize(batch.cells.size() + batch.columns);
      parse_record(parser, record, scratch, batch);
    }
  }

 private:
  void parse_record(dom::parser& parser, std::string_view record, std::string& scratch,
                    Batch& batch) const {
    const size_t row = batch.rows() - 1;
    dom::element top;
    const auto error = parser.parse(record.data(), record.size(), false).get(top);
    if (error != simdjson::SUCCESS) {
      const auto fault = error == simdjson::UTF8_ERROR ? Fault::kEncoding : Fault::kMalformed;
      return batch.reject(row, fault, fmt::format("not JSON: {}", simdjson::error_message(error)));
    }
    dom::object object;
    if (top.get(object) != simdjson::SUCCESS)
      return batch.reject(row, Fault::kMalformed, "expected a JSON object, {...}");
    std::string_view* cells = batch.cells.data() + row * batch.columns;
    for (const auto field : object) {
      for (size_t column = 0; column < keys_.size(); ++column) {
        if (field.key != keys_[column]) continue;
        batch.seen[column] = 1;
        scratch.clear();
        dom::array array;
        const bool fits = field.value.get(array) == simdjson::SUCCESS
                              ? list_text(array, scratch)
                              : scalar_text(field.value, scratch);
        if (!fits) {
          return batch.reject(
              row, Fault::kMalformed,
              fmt::format("'{}' holds an object; expected a value or a list", field.key));
        }
        cells[column] = batch.arena.copy(scratch);
      }
    }
  }

  std::vector<std::string> keys_;
};

}  // namespace

std::unique_ptr<RecordParser> make_json_parser(std::vector<std::string> keys) {
  return std::make_unique<JsonParser>(std::move(keys));
}

}  // namespace llmcf::data
