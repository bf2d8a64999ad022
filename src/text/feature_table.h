// Words and character n-grams of texts as sparse, weighted, normalised rows.
//
// Two steps: extract_features() turns a text into (hash, count) pairs; a FeatureTable, fitted on
// the pairs of many texts, knows each feature's column and idf and turns pairs into a unit vector.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace llmcf::text {

struct FeatureOptions {
  int64_t shortest_ngram = 3;
  int64_t longest_ngram = 4;  // 0 = words only
};

// The lowest bit of a hash tells n-grams (1) from words (0).
struct FeatureCount {
  uint64_t hash = 0;
  int32_t count = 0;
};
inline bool is_ngram(uint64_t hash) {
  return (hash & 1U) != 0;
}

// Appends the features of one text, sorted by hash, each hash once. Texts are compared after
// compatibility composition and case folding.
void extract_features(std::string_view text, const FeatureOptions& options,
                      std::vector<FeatureCount>& features);

struct SparseEntry {
  int32_t column = 0;
  float value = 0.0F;
};

class FeatureTable {
 public:
  struct Limits {
    int64_t min_document_count = 2;
    int64_t max_words = 0;
    int64_t max_ngrams = 0;
    double ngram_share = 0.5;
  };

  FeatureTable() = default;
  // Counts in how many of `documents` texts each feature is; a text's features are in one block, in
  // any order of texts. idf = ln((1 + documents) / (1 + count)) + 1.
  static FeatureTable fit(std::span<const std::vector<FeatureCount>> blocks, int64_t documents,
                          const Limits& limits);
  // REQUIRES: hashes strictly ascending, as many as idf.
  FeatureTable(std::vector<uint64_t> hashes, std::vector<float> idf, double ngram_share);

  int64_t size() const { return static_cast<int64_t>(hashes_.size()); }
  const std::vector<uint64_t>& hashes() const { return hashes_; }
  const std::vector<float>& idf() const { return idf_; }
  double ngram_share() const { return ngram_share_; }

  // Appends the unit vector of a text, columns ascending; nothing if nothing in it is known.
  void weigh(std::span<const FeatureCount> features, std::vector<SparseEntry>& row) const;

 private:
  int32_t find(uint64_t hash) const;  // -1 if unknown

  std::vector<uint64_t> hashes_;
  std::vector<float> idf_;
  std::vector<int32_t> slots_;  // open addressing, size a power of two
  double ngram_share_ = 0.5;
};

}  // namespace llmcf::text
