#include "text/feature_table.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <mutex>
#include <string>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/error.h"
#include "core/threads.h"
#include "text/unicode.h"

namespace llmcf::text {

namespace {

uint64_t hash_of(std::u32string_view characters, bool ngram) {
  const uint64_t hash = XXH3_64bits(characters.data(), characters.size() * sizeof(char32_t));
  return (hash & ~uint64_t{1}) | (ngram ? 1U : 0U);
}

// Collects hashes of one text.
class Extractor {
 public:
  Extractor(const FeatureOptions& options, std::vector<uint64_t>& hashes)
      : options_(options), hashes_(hashes) {}

  void run(std::u32string_view text) {
    for (size_t at = 0; at < text.size();) {
      const CharacterClass kind = classify(text[at]);
      size_t end = at + 1;
      if (kind == CharacterClass::kWord || kind == CharacterClass::kUnspaced) {
        while (end < text.size() && classify(text[end]) == kind)
          ++end;
      }
      const std::u32string_view run = text.substr(at, end - at);
      if (kind == CharacterClass::kWord) add_word(run);
      if (kind == CharacterClass::kUnspaced) add_unspaced(run);
      if (kind == CharacterClass::kSymbol) hashes_.push_back(hash_of(run, false));
      at = end;
    }
  }

 private:
  void add_word(std::u32string_view word) {
    hashes_.push_back(hash_of(word, false));
    if (options_.longest_ngram == 0) return;
    framed_.assign(1, U' ');
    framed_ += word;
    framed_ += U' ';
    const auto longest = std::min(static_cast<size_t>(options_.longest_ngram), framed_.size());
    for (auto size = static_cast<size_t>(options_.shortest_ngram); size <= longest; ++size) {
      for (size_t at = 0; at + size <= framed_.size(); ++at)
        hashes_.push_back(hash_of(std::u32string_view(framed_).substr(at, size), true));
    }
  }

  void add_unspaced(std::u32string_view run) {
    for (size_t at = 0; at < run.size(); ++at) {
      hashes_.push_back(hash_of(run.substr(at, 1), false));
      if (options_.longest_ngram > 0 && at + 2 <= run.size())
        hashes_.push_back(hash_of(run.substr(at, 2), true));
    }
  }

  const FeatureOptions& options_;
  std::vector<uint64_t>& hashes_;
  std::u32string framed_;
};

size_t slot_count(size_t entries) {
  return std::bit_ceil(std::max<size_t>(16, entries * 2));
}

size_t first_slot(uint64_t hash, size_t slots) {
  return static_cast<size_t>(hash >> 8) & (slots - 1);
}

struct HashCount {
  uint64_t hash = 0;
  int64_t count = 0;  // 0 = free slot
};

// A counting hash table; only what fit() needs.
class Counter {
 public:
  Counter() : slots_(slot_count(1 << 12)) {}
  void add(uint64_t hash) {
    if (used_ * 2 >= slots_.size()) grow();
    HashCount& slot = place(hash);
    used_ += slot.count == 0 ? 1 : 0;
    slot.hash = hash;
    ++slot.count;
  }
  const std::vector<HashCount>& slots() const { return slots_; }

 private:
  HashCount& place(uint64_t hash) {
    size_t at = first_slot(hash, slots_.size());
    while (slots_[at].count != 0 && slots_[at].hash != hash)
      at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
  }
  void grow() {
    std::vector<HashCount> old(slots_.size() * 2);
    old.swap(slots_);
    for (const HashCount& slot : old)
      if (slot.count != 0) place(slot.hash) = slot;
  }

  std::vector<HashCount> slots_;
  size_t used_ = 0;
};

// Features of at least `least` texts. Each shard of the hash's top bits is counted by one thread.
std::vector<HashCount> count_features(std::span<const std::vector<FeatureCount>> blocks,
                                      int64_t least) {
  constexpr int kShardBits = 4;
  std::vector<HashCount> counted;
  std::mutex guard;
  parallel_chunks(int64_t{1} << kShardBits, 1, [&](int64_t shard, int64_t, int) {
    Counter counter;
    for (const std::vector<FeatureCount>& block : blocks) {
      for (const FeatureCount& feature : block)
        if (static_cast<int64_t>(feature.hash >> (64 - kShardBits)) == shard)
          counter.add(feature.hash);
    }
    const std::lock_guard lock(guard);
    for (const HashCount& slot : counter.slots())
      if (slot.count >= std::max<int64_t>(1, least)) counted.push_back(slot);
  });
  return counted;
}

// The `most` most frequent ones of one kind are appended to `kept`.
void keep_frequent(const std::vector<HashCount>& counted, bool ngrams, int64_t most,
                   std::vector<HashCount>& kept) {
  std::vector<HashCount> chosen;
  for (const HashCount& feature : counted)
    if (is_ngram(feature.hash) == ngrams) chosen.push_back(feature);
  std::sort(chosen.begin(), chosen.end(), [](const HashCount& a, const HashCount& b) {
    return a.count != b.count ? a.count > b.count : a.hash < b.hash;
  });
  if (static_cast<int64_t>(chosen.size()) > most) chosen.resize(static_cast<size_t>(most));
  kept.insert(kept.end(), chosen.begin(), chosen.end());
}

}  // namespace

void extract_features(std::string_view text, const FeatureOptions& options,
                      std::vector<FeatureCount>& features) {
  thread_local std::u32string folded;
  thread_local std::vector<uint64_t> hashes;
  fold(text, folded);
  hashes.clear();
  Extractor(options, hashes).run(folded);
  std::sort(hashes.begin(), hashes.end());
  const size_t start = features.size();
  for (const uint64_t hash : hashes) {
    if (features.size() > start && features.back().hash == hash) {
      ++features.back().count;
    } else {
      features.push_back({hash, 1});
    }
  }
}

FeatureTable FeatureTable::fit(std::span<const std::vector<FeatureCount>> blocks, int64_t documents,
                               const Limits& limits) {
  const std::vector<HashCount> counted = count_features(blocks, limits.min_document_count);
  std::vector<HashCount> kept;
  keep_frequent(counted, false, limits.max_words, kept);
  keep_frequent(counted, true, limits.max_ngrams, kept);
  std::sort(kept.begin(), kept.end(),
            [](const HashCount& a, const HashCount& b) { return a.hash < b.hash; });
  std::vector<uint64_t> hashes;
  std::vector<float> idf;
  for (const HashCount& feature : kept) {
    hashes.push_back(feature.hash);
    idf.push_back(static_cast<float>(std::log((1.0 + static_cast<double>(documents)) /
                                              (1.0 + static_cast<double>(feature.count))) +
                                     1.0));
  }
  return {std::move(hashes), std::move(idf), limits.ngram_share};
}

FeatureTable::FeatureTable(std::vector<uint64_t> hashes, std::vector<float> idf, double ngram_share)
    : hashes_(std::move(hashes)),
      idf_(std::move(idf)),
      slots_(slot_count(hashes_.size()), -1),
      ngram_share_(ngram_share) {
  LLMCF_ASSERT(hashes_.size() == idf_.size());
  for (size_t column = 0; column < hashes_.size(); ++column) {
    size_t at = first_slot(hashes_[column], slots_.size());
    while (slots_[at] >= 0)
      at = (at + 1) & (slots_.size() - 1);
    slots_[at] = static_cast<int32_t>(column);
  }
}

int32_t FeatureTable::find(uint64_t hash) const {
  size_t at = first_slot(hash, slots_.size());
  while (slots_[at] >= 0 && hashes_[static_cast<size_t>(slots_[at])] != hash)
    at = (at + 1) & (slots_.size() - 1);
  return slots_[at];
}

void FeatureTable::weigh(std::span<const FeatureCount> features,
                         std::vector<SparseEntry>& row) const {
  if (hashes_.empty()) return;
  const size_t start = row.size();
  double squares[2] = {0.0, 0.0};  // of words, of n-grams
  for (const FeatureCount& feature : features) {
    const int32_t column = find(feature.hash);
    if (column < 0) continue;
    const float tf = feature.count == 1 ? 1.0F : 1.0F + std::log(static_cast<float>(feature.count));
    const float value = tf * idf_[static_cast<size_t>(column)];
    squares[is_ngram(feature.hash) ? 1 : 0] += static_cast<double>(value) * value;
    row.push_back({column, value});
  }
  const double shares[2] = {1.0 - ngram_share_, ngram_share_};
  double total = 0.0;
  for (int group = 0; group < 2; ++group)
    total += squares[group] > 0.0 ? shares[group] : 0.0;
  if (total <= 0.0) return row.resize(start);
  for (size_t at = start; at < row.size(); ++at) {
    const int group = is_ngram(hashes_[static_cast<size_t>(row[at].column)]) ? 1 : 0;
    row[at].value *= static_cast<float>(std::sqrt(shares[group] / total / squares[group]));
  }
}

}  // namespace llmcf::text
