// A text file in blocks of whole records, a few megabytes each: what worker threads parse.
//
// Invariants:
//  1. A block ends at the end of a record; only the last may lack its line end.
//  2. A line end inside an RFC 4180 quote does not end a record. A quote opens only at the start of
//     a cell; the record parser follows the same rule.
//  3. A UTF-8 byte order mark at the start of the file is left out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/byte_source.h"
#include "data/schema.h"

namespace llmcf::data {

struct Block {
  std::string text;  // with kPadding spare bytes of capacity behind it
  int64_t first_line = 1;

  static constexpr size_t kPadding = 64;
};

class BlockReader {
 public:
  static constexpr size_t kBlockBytes = 4 << 20;
  static constexpr size_t kRecordBytes = 64 << 20;  // a longer record is an error

  // `block_bytes` is for tests.
  explicit BlockReader(const Table& table, size_t block_bytes = kBlockBytes);

  // False at the end. Throws InputError with the line reached for damaged data.
  bool next(Block& block);

 private:
  // Bytes of `carry_` up to the last record end at or before its end; 0 if there is none.
  size_t last_record_end() const;
  // Reads on; false at the end of the file.
  bool fill(size_t wanted);
  [[noreturn]] void fail(const std::string& reason) const;

  std::string name_;
  std::unique_ptr<ByteSource> source_;
  bool quoted_;
  char separator_;
  size_t block_bytes_;
  std::string carry_;  // read, not handed out yet
  int64_t line_ = 1;   // of carry_'s first byte
  bool start_ = true;
};

}  // namespace llmcf::data
