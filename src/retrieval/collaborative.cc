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

ItemVectors::ItemVectors(const KnownItems& known, const Texts& texts, const Reasons& reasons,
                         const RetrievalOptions& options)
    : width_(texts.width) {
  const double log_weight = options.collaborative.weight, reason_weight = options.reasons.weight;
  if (log_weight == 0 && reason_weight == 0) {
    vectors_.emplace_back(texts.item_text.begin(), texts.item_text.end());
    return;
  }
  const int64_t items = texts.rows(), folds = options.collaborative.folds;
  if (log_weight > 0) width_ += options.collaborative.width;
  if (reason_weight > 0) width_ += reasons.width();
  fold_ = deal(known.size(), options.collaborative, static_cast<uint64_t>(options.seed));
  for (int64_t fold = 0; fold < folds; ++fold) {
    std::vector<float> joined(static_cast<size_t>(items * width_));
    int64_t offset = 0;
    const auto join = [&](std::span<const float> part, int64_t width, double weight) {
      const auto scale = static_cast<float>(std::sqrt(weight));
      for (int64_t item = 0; item < items; ++item)
        for (int64_t k = 0; k < width; ++k)
          joined[static_cast<size_t>(item * width_ + offset + k)] =
              scale * part[static_cast<size_t>(item * width + k)];
      offset += width;
    };
    join(texts.item_text, texts.width, 1 - log_weight - reason_weight);
    if (log_weight > 0)
      join(log_vectors(known, items, options, fold), options.collaborative.width, log_weight);
    if (reason_weight > 0)
      join(reasoned_vectors(
               reasons, items, options.reasons.positives_only,
               [&](int32_t user) { return counts_for(static_cast<size_t>(user), fold, folds); }),
           reasons.width(), reason_weight);
    vectors_.push_back(std::move(joined));
  }
}

std::vector<float> ItemVectors::log_vectors(const KnownItems& known, int64_t item_count,
                                            const RetrievalOptions& options, int64_t fold) const {
  const auto items = static_cast<size_t>(item_count);
  const int64_t folds = options.collaborative.folds;
  const auto counts = [&](size_t user) {
    return known[user].size() >= kFewest && counts_for(user, fold, folds);
  };
  std::vector<double> takers(items, kItemDamping);
  for (size_t user = 0; user < known.size(); ++user) {
    if (!counts(user)) continue;
    for (const int32_t item : known[user])
      takers[static_cast<size_t>(item)] += 1;
  }
  text::SparseMatrix matrix;
  matrix.columns = item_count;
  for (size_t user = 0; user < known.size(); ++user) {
    if (!counts(user)) continue;
    std::vector<int32_t> mine(known[user].begin(), known[user].end());
    std::sort(mine.begin(), mine.end());
    mine.erase(std::unique(mine.begin(), mine.end()), mine.end());
    const double size = static_cast<double>(mine.size()) + kUserDamping;
    for (const int32_t item : mine)
      matrix.entries.push_back(
          {item, static_cast<float>(1 / std::sqrt(size * takers[static_cast<size_t>(item)]))});
    matrix.offsets.push_back(static_cast<int64_t>(matrix.entries.size()));
  }
  const text::Svd svd = text::truncated_svd(
      matrix, {.width = options.collaborative.width, .seed = static_cast<uint64_t>(options.seed)});
  const auto width = static_cast<size_t>(options.collaborative.width);
  std::vector<float> vectors(items * width, 0);
  for (size_t item = 0; item < items; ++item) {
    const float* row = svd.right.data() + item * width;
    double square = 0;
    for (size_t k = 0; k < width; ++k)
      square += std::pow(static_cast<double>(row[k]) * svd.singular[k], 2);
    if (takers[item] <= kItemDamping || square <= 0) continue;
    for (size_t k = 0; k < width; ++k)
      vectors[item * width + k] = static_cast<float>(row[k] * svd.singular[k] / std::sqrt(square));
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
