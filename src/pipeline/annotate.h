// Shows retrieved examples to a person, one at a time, and records what they think of them.
//
// Invariants:
//  1. The sample depends on the seed and what was retrieved alone: every annotator sees the same
//     pairs in the same order, and a larger sample begins with a smaller one.
//  2. The same number of pairs comes from each fifth of the similarities, but for rows that were
//  met
//     before.
//  3. Neither similarity nor the row's own label is shown before a judgement.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "pipeline/annotations.h"
#include "pipeline/retrieved.h"

namespace llmcf::pipeline {

struct AnnotateOptions {
  std::string annotator;
  int64_t sample = 50;  // pairs
  int64_t seed = 2023;
};

// A row and one of its examples.
struct RetrievedPair {
  int64_t row = 0;
  int32_t example = 0;
  float similarity = 0;
};

// A judgement with what the person saw.
struct SessionEntry {
  Annotation annotation;
  std::string query;  // titles of the targets
  std::string example;
};

// At most `count` pairs, no row twice unless there are too few rows.
std::vector<RetrievedPair> sample_pairs(const retrieval::Assignment& assignment, int64_t count,
                                        int64_t seed);

// Asks about every pair of the sample that the annotator has not judged, and appends each answer to
// `path` at once. Ends with the sample, with q, or when `in` ends. Returns this session's
// judgements.
std::vector<SessionEntry> annotate(const Retrieved& retrieved, const std::filesystem::path& path,
                                   const AnnotateOptions& options, std::istream& in,
                                   std::ostream& out);

// What a session's judgements were, similarity included; empty without any.
std::string session_text(const std::vector<SessionEntry>& session);

// Agreement of judgements with similarity and of annotators with each other, as text: Spearman's
// correlation, AUC of similarity, mean similarity by grade (bootstrap over rows), Cohen's kappa.
std::string annotation_report(const std::vector<Annotation>& annotations, const std::string& split,
                              int64_t seed = 2023);

}  // namespace llmcf::pipeline
