#include "serve/retrieval_profile.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace llmcf::serve {

namespace {

constexpr double kBucketsPerUnit = 50;
constexpr double kRounding = 1e-5;      // of single precision, in steps
constexpr double kJoined = 0.1;         // share of the reference in a bucket of the index
constexpr double kLeastShare = 1e-4;    // ln needs more than nothing
constexpr int64_t kCoverageCounts = 5;  // rows, with_examples, complete, slots, filled
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double sum_of(const SimilarityCounts& counts) {
  return std::accumulate(counts.begin(), counts.end(), 0.0);
}

}  // namespace

int64_t similarity_bucket(float similarity) {
  const double step =
      std::ceil(static_cast<double>(similarity) / (1 / kBucketsPerUnit) - kRounding);
  return static_cast<int64_t>(std::clamp(step, 0.0, static_cast<double>(kSimilarityBuckets - 1)));
}

double similarity_end(size_t bucket) {
  return static_cast<double>(bucket) / kBucketsPerUnit;
}

std::vector<double> similarity_boundaries() {
  std::vector<double> boundaries;
  for (size_t bucket = 0; bucket + 1 < kSimilarityBuckets; ++bucket)
    boundaries.push_back(similarity_end(bucket));
  return boundaries;
}

void RetrievalProfile::add(std::span<const int32_t> ids, std::span<const float> similarity) {
  int64_t found = 0;
  float highest = -std::numeric_limits<float>::infinity();
  for (size_t slot = 0; slot < ids.size(); ++slot) {
    if (ids[slot] < 0) continue;
    ++found;
    highest = std::max(highest, similarity[slot]);
  }
  const auto wanted = static_cast<int64_t>(ids.size());
  ++rows;
  slots += wanted;
  filled += found;
  if (found == 0) return;
  ++with_examples;
  complete += found == wanted ? 1 : 0;
  best[static_cast<size_t>(similarity_bucket(highest))] += 1;
}

void RetrievalProfile::add(const RetrievalProfile& other) {
  for (size_t bucket = 0; bucket < best.size(); ++bucket)
    best[bucket] += other.best[bucket];
  rows += other.rows;
  with_examples += other.with_examples;
  complete += other.complete;
  slots += other.slots;
  filled += other.filled;
}

void RetrievalProfile::add_to(SafetensorsWriter& writer, std::vector<int64_t>& kept) const {
  kept.clear();
  for (const double count : best)
    kept.push_back(std::llround(count));
  kept.insert(kept.end(), {rows, with_examples, complete, slots, filled});
  const std::span<const int64_t> all = kept;
  writer.add<int64_t>("reference.similarity", {kSimilarityBuckets},
                      all.first(static_cast<size_t>(kSimilarityBuckets)));
  writer.add<int64_t>("reference.coverage", {kCoverageCounts},
                      all.last(static_cast<size_t>(kCoverageCounts)));
}

std::optional<RetrievalProfile> RetrievalProfile::read(const SafetensorsReader& reader) {
  if (!reader.contains("reference.similarity")) return std::nullopt;
  const auto counts = reader.get<int64_t>("reference.similarity", {kSimilarityBuckets});
  const auto coverage = reader.get<int64_t>("reference.coverage", {kCoverageCounts});
  RetrievalProfile profile{.rows = coverage[0],
                           .with_examples = coverage[1],
                           .complete = coverage[2],
                           .slots = coverage[3],
                           .filled = coverage[4]};
  std::copy(counts.begin(), counts.end(), profile.best.begin());
  return profile;
}

double population_stability(const SimilarityCounts& reference, const SimilarityCounts& seen) {
  const double all_reference = sum_of(reference), all_seen = sum_of(seen);
  if (all_reference <= 0 || all_seen <= 0) return kNone;
  double index = 0, r = 0, s = 0, left = 1;
  for (size_t bucket = 0; bucket < reference.size(); ++bucket) {
    r += reference[bucket] / all_reference;
    s += seen[bucket] / all_seen;
    const bool last = bucket + 1 == reference.size();
    // What is left after this bucket must fill another one.
    if (!last && (r < kJoined || left - r < kJoined)) continue;
    left -= r;
    const double expected = std::max(r, kLeastShare), found = std::max(s, kLeastShare);
    index += (found - expected) * std::log(found / expected);
    r = s = 0;
  }
  return index;
}

double kolmogorov_smirnov(const SimilarityCounts& reference, const SimilarityCounts& seen) {
  const double all_reference = sum_of(reference), all_seen = sum_of(seen);
  if (all_reference <= 0 || all_seen <= 0) return kNone;
  double distance = 0, cumulated = 0;
  for (size_t bucket = 0; bucket < reference.size(); ++bucket) {
    cumulated += reference[bucket] / all_reference - seen[bucket] / all_seen;
    distance = std::max(distance, std::abs(cumulated));
  }
  return distance;
}

}  // namespace llmcf::serve
