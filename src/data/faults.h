// Rows that cannot be used: tolerated up to a limit and counted by reason, an InputError beyond.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace llmcf::data {

enum class Fault {
  kMalformed,
  kEncoding,
  kMissingValue,
  kBadNumber,
  kBadTime,
  kUnknownItem,
};

std::string_view fault_name(Fault fault);  // "malformed row", "not UTF-8", ...

struct BadRow {
  int64_t line = 0;
  Fault fault = Fault::kMalformed;
  std::string reason;  // what is wrong and what to do about it
};

class FaultCounter {
 public:
  explicit FaultCounter(int64_t allowed) : allowed_(allowed) {}

  // Counts the row, or throws InputError when the limit is reached.
  void add(const std::string& file, const BadRow& row);

  int64_t total() const { return total_; }
  const std::map<std::string, int64_t>& by_reason() const { return by_reason_; }
  const std::vector<std::string>& first() const { return first_; }  // at most 5

 private:
  int64_t allowed_;
  int64_t total_ = 0;
  std::map<std::string, int64_t> by_reason_;
  std::vector<std::string> first_;
};

}  // namespace llmcf::data
