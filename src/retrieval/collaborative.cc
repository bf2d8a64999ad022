#include "retrieval/collaborative.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "retrieval/slots.h"
#include "text/linear_algebra.h"

namespace llmcf::retrieval {

namespace {

constexpr double kUserDamping = 1, kItemDamping = 3;
constexpr size_t kFewest = 2;  // items; a user with one says nothing about pairs

std::vector<int32_t> deal(size_t users, const CollaborativeOptions& options, uint64_t seed) {
  std::vector<int32_t> fold(users, 0);
  Random random(seed, "retrieval.folds");
  for (int32_t& mine : fold)
    mine = static_cast<int32_t>(random.below(static_cast<uint64_t>(options.folds)));
  return fold;
}

// The rows of one split that belong to one fold.
struct FoldRows {
  std::vector<int64_t> row;
  std::vector<int32_t> user, item, position;
  std::vector<int64_t> time;

  FoldRows(const Queries& part, const ItemVectors& vectors, int64_t fold) {
    for (int64_t i = 0; i < part.size(); ++i) {
      const auto at = static_cast<size_t>(i);
      if (vectors.fold_of(part.user[at]) != fold) continue;
      row.push_back(i);
      user.push_back(part.user[at]);
      item.push_back(part.item[at]);
      position.push_back(part.position[at]);
      time.push_back(part.time[at]);
    }
  }
  Queries queries() const {
    return {.user = user, .item = item, .position = position, .time = time};
  }
};

// Row `from` of `source` becomes row `to` of `out`.
void copy_row(const Assignment& source, int64_t from, int64_t to, Assignment& out) {
  const auto copy = [&](const auto& values, auto& into) {
    std::copy_n(values.begin() + from * source.k, source.k, into.begin() + to * source.k);
  };
  copy(source.ids, out.ids);
  copy(source.similarity, out.similarity);
  copy(source.history_similarity, out.history_similarity);
  copy(source.target_similarity, out.target_similarity);
  out.alignment[static_cast<size_t>(to)] = source.alignment[static_cast<size_t>(from)];
}

}  // namespace

KnownItems known_items(const data::RowSet& rows, int64_t users) {
  std::vector<int32_t> count(static_cast<size_t>(users) + 1, 0);
  const data::Rows& train = rows.train();
  for (size_t row = 0; row < train.user.size(); ++row) {
    if (train.label[row] < 0.5F) continue;
    int32_t& known = count[static_cast<size_t>(train.user[row])];
    known = std::max(known, train.position[row] + 1);
  }
  KnownItems known;
  for (size_t user = 0; user < count.size(); ++user)
    known.push_back(count[user] == 0 ? std::span<const int32_t>()
                                     : rows.history(static_cast<int32_t>(user), count[user]));
  return known;
}

ItemVectors::ItemVectors(const KnownItems& known, const Texts& texts,
                         const CollaborativeOptions& options, uint64_t seed)
    : width_(texts.width) {
  if (options.weight == 0) {
    vectors_.emplace_back(texts.item_text.begin(), texts.item_text.end());
    return;
  }
  width_ += options.width;
  fold_ = deal(known.size(), options, seed);
  for (int64_t fold = 0; fold < options.folds; ++fold)
    vectors_.push_back(make_fold(known, texts, options, seed, fold));
}

std::vector<float> ItemVectors::make_fold(const KnownItems& known, const Texts& texts,
                                          const CollaborativeOptions& options, uint64_t seed,
                                          int64_t fold) const {
  const auto items = static_cast<size_t>(texts.rows());
  const auto counts_for = [&](size_t user) {
    return known[user].size() >= kFewest && (options.folds == 1 || fold_[user] != fold);
  };
  std::vector<double> takers(items, kItemDamping);
  for (size_t user = 0; user < known.size(); ++user) {
    if (!counts_for(user)) continue;
    for (const int32_t item : known[user])
      takers[static_cast<size_t>(item)] += 1;
  }
  text::SparseMatrix matrix;
  matrix.columns = texts.rows();
  for (size_t user = 0; user < known.size(); ++user) {
    if (!counts_for(user)) continue;
    std::vector<int32_t> mine(known[user].begin(), known[user].end());
    std::sort(mine.begin(), mine.end());
    mine.erase(std::unique(mine.begin(), mine.end()), mine.end());
    const double size = static_cast<double>(mine.size()) + kUserDamping;
    for (const int32_t item : mine)
      matrix.entries.push_back(
          {item, static_cast<float>(1 / std::sqrt(size * takers[static_cast<size_t>(item)]))});
    matrix.offsets.push_back(static_cast<int64_t>(matrix.entries.size()));
  }
  const text::Svd svd = text::truncated_svd(matrix, {.width = options.width, .seed = seed});
  const auto text_width = static_cast<size_t>(texts.width), width = static_cast<size_t>(width_);
  const auto log_width = width - text_width;
  const auto text_scale = static_cast<float>(std::sqrt(1 - options.weight));
  const double log_scale = std::sqrt(options.weight);
  std::vector<float> vectors(items * width);
  for (size_t item = 0; item < items; ++item) {
    float* out = vectors.data() + item * width;
    for (size_t k = 0; k < text_width; ++k)
      out[k] = text_scale * texts.item_text[item * text_width + k];
    const float* row = svd.right.data() + item * log_width;
    double square = 0;
    for (size_t k = 0; k < log_width; ++k)
      square += std::pow(static_cast<double>(row[k]) * svd.singular[k], 2);
    if (takers[item] <= kItemDamping || square <= 0) continue;
    for (size_t k = 0; k < log_width; ++k)
      out[text_width + k] =
          static_cast<float>(log_scale * row[k] * svd.singular[k] / std::sqrt(square));
  }
  return vectors;
}

std::vector<Assignment> assign_by_fold(const Pool& pool, std::span<const Queries> parts,
                                       const ItemVectors& vectors, const HistoryLookup& histories,
                                       const RetrievalOptions& options) {
  if (vectors.folds() == 1) return assign(pool, parts, vectors.of_fold(0), histories, options);
  std::vector<Assignment> results;
  for (const Queries& part : parts)
    results.push_back(empty_assignment(part.size(), options.k));
  for (int64_t fold = 0; fold < vectors.folds(); ++fold) {
    std::vector<FoldRows> rows;
    std::vector<Queries> queries;
    for (const Queries& part : parts)
      rows.emplace_back(part, vectors, fold);
    for (const FoldRows& part : rows)
      queries.push_back(part.queries());
    const auto found = assign(pool, queries, vectors.of_fold(fold), histories, options);
    for (size_t part = 0; part < parts.size(); ++part)
      for (int64_t i = 0; i < found[part].rows; ++i)
        copy_row(found[part], i, rows[part].row[static_cast<size_t>(i)], results[part]);
  }
  return results;
}

}  // namespace llmcf::retrieval
