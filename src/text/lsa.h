// Latent semantic analysis: the default encoder, fitted on the catalogue in seconds, no model
// needed.
//
// A text's features are its words and the character n-grams of its words (for scripts written
// without spaces: characters and pairs of them), weighted by sublinear tf times idf, each of the
// two groups scaled to a fixed share of a unit vector x. The vector of a text is normalise(x V),
// where the columns of V [features, dim] are the leading right singular vectors of the corpus
// matrix (Deerwester et al. 1990; for corpus texts x V is the usual U S), found by randomised
// subspace iteration (Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.1 applied to the
// transpose).
//
// Invariants:
//  1. fit() gives the same bytes for the same set of texts in any order, seed and any number of
//     threads on one machine.
//  2. Features are known by 64-bit hashes; the texts themselves are not stored.
//  3. Bytes that are not UTF-8 are read as Latin-1 characters. A text without known features is the
//     zero vector. Columns beyond the corpus's rank are zero.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "text/encoder.h"
#include "text/feature_table.h"

namespace llmcf::text {

struct LsaOptions {
  int64_t width = 256;             // dimensions
  int64_t min_document_count = 2;  // features of fewer texts are ignored (1 below 200 texts)
  int64_t max_words = 32'768;      // the most frequent ones are kept
  int64_t max_ngrams = 32'768;
  int64_t shortest_ngram = 3;  // characters, word ends included; longest 0 = no n-grams
  int64_t longest_ngram = 4;
  double ngram_share = 0.5;         // of a text's squared length
  int64_t max_fit_texts = 200'000;  // a larger corpus is sampled (by content hash) for the fit
  int64_t iterations = 2;           // of the subspace; more = closer to the exact SVD
  int64_t oversampling = 16;        // additional columns during the iteration
  uint64_t seed = 1;

  // Keys: the names above. Does not call finish().
  static LsaOptions from(const Config& config);
};

class Lsa final : public Encoder {
 public:
  // Throws Error if no text has any feature or an option is out of range.
  static Lsa fit(std::span<const std::string_view> texts, const LsaOptions& options);
  // One safetensors file: feature hashes, idf, V.
  static Lsa load(const std::filesystem::path& path);
  void save(const std::filesystem::path& path) const;

  int64_t dim() const override { return options_.width; }
  std::string name() const override { return "lsa-" + std::to_string(options_.width); }
  std::string fingerprint() const override { return fingerprint_; }
  void encode(std::span<const std::string_view> texts, std::span<float> out) const override;

  // Largest first, `dim` of them, zero beyond the rank.
  const std::vector<float>& singular_values() const { return singular_values_; }
  int64_t features() const { return table_.size(); }

 private:
  Lsa() = default;
  void finish_fingerprint();
  void encode_one(std::string_view text, std::span<float> out) const;

  LsaOptions options_;
  FeatureTable table_;
  std::vector<float> projection_;  // [features, dim]
  std::vector<float> singular_values_;
  std::string fingerprint_;
};

}  // namespace llmcf::text
