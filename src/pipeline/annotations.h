// A person's judgements of retrieved examples: <workspace>/annotations.jsonl, one JSON object per
// line, appended as they are made.
//
// Invariants:
//  1. A judgement is on disk before append_annotation() returns; a kill loses at most the one being
//     written, whose torn line is ignored and cut off by the next append.
//  2. Rows and examples are named by the input's ids, never by numbers that a later run changes.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/workspace.h"

namespace llmcf::pipeline {

// A row of the data set: who, after how many items, which item, when.
struct RowName {
  std::string user;
  int64_t position = 0;
  std::string item;
  int64_t time = 0;

  auto operator<=>(const RowName&) const = default;
};

struct Annotation {
  std::string annotator;
  std::string split;
  RowName query;
  RowName example;
  double similarity = 0;         // when it was judged
  std::optional<int64_t> grade;  // 2 relevant, 1 partly, 0 not; none = skipped
  int64_t time = 0;              // Unix seconds
};

// In the file's order; empty if there is no file. Throws InputError with file and line.
std::vector<Annotation> read_annotations(const std::filesystem::path& path);

// Throws Error with the path and the system's reason.
void append_annotation(const std::filesystem::path& path, const Annotation& annotation);

// Removes every judgement whose row or example is of an erased user, and, with a warning, every
// line that cannot be read: it may name one. Returns how many.
int64_t erase_annotations(const Workspace& workspace);

}  // namespace llmcf::pipeline
