// The three record parsers, one per Syntax.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/batch.h"
#include "data/schema.h"

namespace llmcf::data {

// slots[i] is the batch's column for the file's column i, or -1 if nobody wants it; every record
// must have slots.size() columns. Quotes follow RFC 4180.
std::unique_ptr<RecordParser> make_delimited_parser(const Table& table, std::vector<int> slots);

// The cells of the first record, e.g. the header. Empty if there is none.
std::vector<std::string> first_record(const Table& table, const Block& block);

// keys[c] is the key of the batch's column c. Elements of arrays, nested ones too, become a list
// cell.
std::unique_ptr<RecordParser> make_json_parser(std::vector<std::string> keys);
std::unique_ptr<RecordParser> make_python_parser(std::vector<std::string> keys);

}  // namespace llmcf::data
