// What retrieval found for many rows or candidates, as counts: the similarity of the best example,
// and how much of what was wanted there was. Made over the run's test rows when a run is published
// (the reference), and over requests while it is served; both are counted by the same code.
//
// Tensors of the bundle: reference.similarity i64 [kSimilarityBuckets], reference.coverage i64 [5].
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/safetensors.h"

namespace llmcf::serve {

// (-inf, 0], (0, 0.02], ..., (0.98, 1], (1, inf).
inline constexpr int64_t kSimilarityBuckets = 52;
int64_t similarity_bucket(float similarity);
// The upper end of a bucket that is not the last.
double similarity_end(size_t bucket);
// Those of all.
std::vector<double> similarity_boundaries();

using SimilarityCounts = std::array<double, kSimilarityBuckets>;

struct RetrievalProfile {
  SimilarityCounts best{};  // rows by the similarity of their best example; none without any
  int64_t rows = 0;
  int64_t with_examples = 0;  // of them with one at least
  int64_t complete = 0;       // with all K
  int64_t slots = 0, filled = 0;

  // One row's slots; ids below 0 are masked.
  void add(std::span<const int32_t> ids, std::span<const float> similarity);
  void add(const RetrievalProfile& other);

  // `kept` takes what the writer points at.
  void add_to(SafetensorsWriter& writer, std::vector<int64_t>& kept) const;
  // Empty if the bundle has none. Throws InputError on other shapes.
  static std::optional<RetrievalProfile> read(const SafetensorsReader& reader);
};

// Population stability index of `seen` against `reference`: sum of (s - r) ln(s / r) over buckets
// that are joined until each holds a tenth of the reference, shares below 1e-4 counted as 1e-4. By
// custom below 0.1 is the same, above 0.25 another distribution. NaN if either is empty.
double population_stability(const SimilarityCounts& reference, const SimilarityCounts& seen);
// Kolmogorov-Smirnov distance: the largest difference of the two cumulative shares. NaN likewise.
double kolmogorov_smirnov(const SimilarityCounts& reference, const SimilarityCounts& seen);

}  // namespace llmcf::serve
