// Reads the wanted columns of one table: blocks are parsed by worker threads, rows arrive in the
// order of the file.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/batch.h"
#include "data/block_reader.h"
#include "data/faults.h"
#include "data/schema.h"

namespace llmcf::data {

class TableReader {
 public:
  // Opens the file and looks the columns up in its header. Throws InputError for a column that is
  // not there, naming those that are.
  TableReader(const Table& table, const std::vector<std::string>& columns, FaultCounter& faults);
  ~TableReader();

  // The batch's column that holds `name`. REQUIRES: one of the constructor's columns.
  size_t slot(const std::string& name) const;

  // Called on worker threads, once per batch, after parsing.
  using Work = std::function<void(Batch&)>;
  // Called on this thread for every sound row in order. It may report a fault() for the row.
  using Row = std::function<void(const Batch&, size_t row)>;
  // Returns the number of records, bad ones included. Throws InputError beyond the tolerated number
  // of bad rows, for damaged data, and for a column that no record has.
  int64_t read(const Work& work, const Row& row);

  void fault(int64_t line, Fault fault, std::string reason);

 private:
  void resolve(const std::vector<std::string>& columns);
  void resolve_header();
  bool load(Batch& batch);
  void process(Batch& batch, const Work& work) const;
  void derive(Batch& batch) const;
  void deliver(const Batch& batch, const Row& row);
  void check_seen() const;

  Table table_;
  FaultCounter& faults_;
  BlockReader blocks_;
  std::vector<std::string> raw_;        // columns of the file, by slot
  std::vector<DerivedColumn> derived_;  // slots behind the raw ones
  std::unique_ptr<RecordParser> parser_;
  Block first_;  // read for the header
  bool has_first_ = false;
  std::vector<uint8_t> seen_;
};

}  // namespace llmcf::data
