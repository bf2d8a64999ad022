#include "text/lsa.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <xxhash.h>

#include "core/hash.h"
#include "core/safetensors.h"
#include "core/strings.h"
#include "core/threads.h"
#include "text/linear_algebra.h"
#include "text/sparse_kernels.h"

namespace llmcf::text {

namespace {

constexpr const char* kFormat = "llmcf.lsa.1";
constexpr int64_t kBlockTexts = 1024;
constexpr int64_t kFewTexts = 200;  // below it a feature of a single text counts
constexpr float kShortest = 1e-6F;  // a projection shorter than this is rounding noise

FeatureOptions feature_options(const LsaOptions& options) {
  return {.shortest_ngram = options.shortest_ngram, .longest_ngram = options.longest_ngram};
}

void check(const LsaOptions& options) {
  const auto within = [](const char* name, int64_t value, int64_t low, int64_t high) {
    if (value < low || value > high)
      throw Error(fmt::format("lsa: {} is {}; it must be in [{}, {}]", name, value, low, high));
  };
  within("width", options.width, 1, 4096);
  within("longest_ngram", options.longest_ngram, 0, 16);
  within("shortest_ngram", options.shortest_ngram, 1, 16);
  within("max_words", options.max_words, 1, 1 << 24);
  within("max_ngrams", options.max_ngrams, 0, 1 << 24);
  within("iterations", options.iterations, 0, 100);
  within("oversampling", options.oversampling, 0, 1000);
  within("max_fit_texts", options.max_fit_texts, 1, int64_t{1} << 31);
  if (!(options.ngram_share >= 0.0 && options.ngram_share < 1.0))
    throw Error(fmt::format("lsa: ngram_share is {}; it must be in [0, 1)", options.ngram_share));
}

// The texts that the fit reads, in an order that depends on their content only.
std::vector<std::string_view> canonical_sample(std::span<const std::string_view> texts,
                                               int64_t most) {
  std::vector<std::pair<uint64_t, std::string_view>> keyed(texts.size());
  parallel_for(static_cast<int64_t>(texts.size()), 1024, [&](int64_t begin, int64_t end) {
    for (auto at = static_cast<size_t>(begin); at < static_cast<size_t>(end); ++at)
      keyed[at] = {XXH3_64bits(texts[at].data(), texts[at].size()), texts[at]};
  });
  std::sort(keyed.begin(), keyed.end());
  std::vector<std::string_view> sample;
  for (const auto& [key, text] : keyed) {
    if (static_cast<int64_t>(sample.size()) == most) break;
    if (!trim(text).empty()) sample.push_back(text);
  }
  return sample;
}

// Features of many texts: block b holds those of texts [b * kBlockTexts, ...), one after the other.
struct Corpus {
  std::vector<std::vector<FeatureCount>> blocks;
  std::vector<std::vector<int64_t>> ends;  // of each text within its block
};

Corpus extract(std::span<const std::string_view> texts, const FeatureOptions& options) {
  const auto count = static_cast<int64_t>(texts.size());
  const auto blocks = static_cast<size_t>((count + kBlockTexts - 1) / kBlockTexts);
  Corpus corpus{std::vector<std::vector<FeatureCount>>(blocks),
                std::vector<std::vector<int64_t>>(blocks)};
  parallel_chunks(count, kBlockTexts, [&](int64_t begin, int64_t end, int) {
    const auto block = static_cast<size_t>(begin / kBlockTexts);
    for (int64_t at = begin; at < end; ++at) {
      extract_features(texts[static_cast<size_t>(at)], options, corpus.blocks[block]);
      corpus.ends[block].push_back(static_cast<int64_t>(corpus.blocks[block].size()));
    }
  });
  return corpus;
}

// Turns each block into rows as soon as its features are no longer needed.
SparseMatrix weighted_matrix(const FeatureTable& table, Corpus corpus) {
  std::vector<std::vector<SparseEntry>> entries(corpus.blocks.size());
  std::vector<std::vector<int64_t>> lengths(corpus.blocks.size());
  parallel_chunks(static_cast<int64_t>(corpus.blocks.size()), 1, [&](int64_t at, int64_t, int) {
    const auto block = static_cast<size_t>(at);
    int64_t begin = 0;
    for (const int64_t end : corpus.ends[block]) {
      const size_t before = entries[block].size();
      table.weigh({corpus.blocks[block].data() + begin, static_cast<size_t>(end - begin)},
                  entries[block]);
      lengths[block].push_back(static_cast<int64_t>(entries[block].size() - before));
      begin = end;
    }
    corpus.blocks[block] = {};
  });
  SparseMatrix matrix;
  matrix.columns = table.size();
  for (size_t block = 0; block < entries.size(); ++block) {
    for (const int64_t length : lengths[block])
      matrix.offsets.push_back(matrix.offsets.back() + length);
    matrix.entries.insert(matrix.entries.end(), entries[block].begin(), entries[block].end());
    entries[block] = {};
  }
  return matrix;
}

}  // namespace

LsaOptions LsaOptions::from(const Config& config) {
  LsaOptions options;
  options.width = config.get_int("width", options.width, 1, 4096);
  options.min_document_count =
      config.get_int("min_document_count", options.min_document_count, 1, 1 << 30);
  options.max_words = config.get_int("max_words", options.max_words, 1, 1 << 24);
  options.max_ngrams = config.get_int("max_ngrams", options.max_ngrams, 0, 1 << 24);
  options.shortest_ngram = config.get_int("shortest_ngram", options.shortest_ngram, 1, 16);
  options.longest_ngram = config.get_int("longest_ngram", options.longest_ngram, 0, 16);
  options.ngram_share = config.get_number("ngram_share", options.ngram_share, 0.0, 0.99);
  options.max_fit_texts =
      config.get_int("max_fit_texts", options.max_fit_texts, 1, int64_t{1} << 31);
  options.iterations = config.get_int("iterations", options.iterations, 0, 100);
  options.oversampling = config.get_int("oversampling", options.oversampling, 0, 1000);
  options.seed = static_cast<uint64_t>(
      config.get_int("seed", static_cast<int64_t>(options.seed), 0, INT64_MAX));
  return options;
}

Lsa Lsa::fit(std::span<const std::string_view> texts, const LsaOptions& options) {
  check(options);
  const std::vector<std::string_view> sample = canonical_sample(texts, options.max_fit_texts);
  const auto count = static_cast<int64_t>(sample.size());
  Corpus corpus = extract(sample, feature_options(options));
  Lsa lsa;
  lsa.options_ = options;
  lsa.table_ =
      FeatureTable::fit(corpus.blocks, count,
                        {.min_document_count = count < kFewTexts ? 1 : options.min_document_count,
                         .max_words = options.max_words,
                         .max_ngrams = options.longest_ngram == 0 ? 0 : options.max_ngrams,
                         .ngram_share = options.ngram_share});
  if (lsa.table_.size() == 0) {
    throw Error(fmt::format(
        "lsa: none of the {} texts has a word in common with another (min_document_count {}); "
        "which text fields are encoded?",
        texts.size(), options.min_document_count));
  }
  const SparseMatrix matrix = weighted_matrix(lsa.table_, std::move(corpus));
  Svd svd = truncated_svd(matrix, {.width = options.width,
                                   .iterations = options.iterations,
                                   .oversampling = options.oversampling,
                                   .seed = options.seed});
  lsa.projection_ = std::move(svd.right);
  lsa.singular_values_ = std::move(svd.singular);
  lsa.finish_fingerprint();
  return lsa;
}

void Lsa::finish_fingerprint() {
  Hasher hasher;
  hasher.add_field(kFormat);
  hasher.add_field(fmt::format("{} {} {} {}", options_.width, options_.shortest_ngram,
                               options_.longest_ngram, table_.ngram_share()));
  const auto add = [&](const auto& values) {
    hasher.add(values.data(), values.size() * sizeof(values[0]));
  };
  add(table_.hashes());
  add(table_.idf());
  add(projection_);
  fingerprint_ = "lsa:" + hasher.hex();
}

void Lsa::save(const std::filesystem::path& path) const {
  SafetensorsWriter writer;
  writer.set_metadata("format", kFormat);
  writer.set_metadata("shortest_ngram", std::to_string(options_.shortest_ngram));
  writer.set_metadata("longest_ngram", std::to_string(options_.longest_ngram));
  writer.set_metadata("ngram_share", fmt::format("{}", table_.ngram_share()));
  writer.add("hashes", table_.hashes());
  writer.add("idf", table_.idf());
  writer.add("singular_values", singular_values_);
  writer.add<float>("projection", {table_.size(), options_.width}, projection_);
  writer.write(path);
}

Lsa Lsa::load(const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  if (reader.metadata("format") != kFormat) {
    throw InputError(path.string(), 0,
                     fmt::format("format is '{}', this program reads '{}'; encode again",
                                 reader.metadata("format"), kFormat));
  }
  const auto number = [&](const char* key) {
    const std::optional<double> value = parse_double(reader.metadata(key));
    if (!value) throw InputError(path.string(), 0, fmt::format("metadata {}: no number", key));
    return *value;
  };
  const auto copy = [](const auto& values) { return std::vector(values.begin(), values.end()); };
  Lsa lsa;
  lsa.options_.shortest_ngram = static_cast<int64_t>(number("shortest_ngram"));
  lsa.options_.longest_ngram = static_cast<int64_t>(number("longest_ngram"));
  lsa.options_.ngram_share = number("ngram_share");
  std::vector<uint64_t> hashes = copy(reader.get<uint64_t>("hashes", {-1}));
  const auto features = static_cast<int64_t>(hashes.size());
  if (std::adjacent_find(hashes.begin(), hashes.end(), std::greater_equal<>()) != hashes.end())
    throw InputError(path.string(), 0, "tensor 'hashes' is not ascending");
  lsa.table_ = FeatureTable(std::move(hashes), copy(reader.get<float>("idf", {features})),
                            lsa.options_.ngram_share);
  lsa.singular_values_ = copy(reader.get<float>("singular_values", {-1}));
  lsa.options_.width = static_cast<int64_t>(lsa.singular_values_.size());
  lsa.projection_ = copy(reader.get<float>("projection", {features, lsa.options_.width}));
  check(lsa.options_);
  lsa.finish_fingerprint();
  return lsa;
}

void Lsa::encode_one(std::string_view text, std::span<float> out) const {
  thread_local std::vector<FeatureCount> features;
  thread_local std::vector<SparseEntry> row;
  features.clear();
  row.clear();
  extract_features(text, feature_options(options_), features);
  table_.weigh(features, row);
  accumulate_rows(row.data(), static_cast<int64_t>(row.size()), projection_.data(), options_.width,
                  out.data());
  const double square = std::inner_product(out.begin(), out.end(), out.begin(), 0.0);
  const auto length = static_cast<float>(std::sqrt(square));
  for (float& value : out)
    value = length > kShortest ? value / length : 0.0F;
}

void Lsa::encode(std::span<const std::string_view> texts, std::span<float> out) const {
  const auto width = static_cast<size_t>(options_.width);
  LLMCF_ASSERT(out.size() == texts.size() * width);
  constexpr int64_t kTextsAtOnce = 64;
  parallel_chunks(static_cast<int64_t>(texts.size()), kTextsAtOnce,
                  [&](int64_t begin, int64_t end, int) {
                    for (auto at = static_cast<size_t>(begin); at < static_cast<size_t>(end); ++at)
                      encode_one(texts[at], out.subspan(at * width, width));
                  });
}

}  // namespace llmcf::text
