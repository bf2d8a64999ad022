#include "data/faults.h"

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::data {

std::string_view fault_name(Fault fault) {
  switch (fault) {
    case Fault::kMalformed:
      return "malformed row";
    case Fault::kEncoding:
      return "not UTF-8";
    case Fault::kMissingValue:
      return "missing value";
    case Fault::kBadNumber:
      return "bad number";
    case Fault::kBadTime:
      return "bad time";
    case Fault::kUnknownItem:
      return "unknown item";
  }
  return "";
}

void FaultCounter::add(const std::string& file, const BadRow& row) {
  const std::string reason = fmt::format("{}: {}", fault_name(row.fault), row.reason);
  if (total_ >= allowed_) {
    const std::string remedy =
        allowed_ == 0 ? "correct the row, or tolerate some with skip_bad_rows: N"
                      : fmt::format("{} bad rows were skipped before it (skip_bad_rows: {})",
                                    total_, allowed_);
    throw InputError(file, row.line, fmt::format("{}; {}", reason, remedy));
  }
  ++total_;
  ++by_reason_[std::string(fault_name(row.fault))];
  if (first_.size() < 5) first_.push_back(fmt::format("{}:{}: {}", file, row.line, reason));
}

}  // namespace llmcf::data
