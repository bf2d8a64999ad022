#include "serve/search_index.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "core/threads.h"
#include "retrieval/history_vectors.h"
#include "retrieval/kernels.h"
#include "retrieval/packed_pool.h"
#include "serve/catalogue.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kBlockItems = 4 * retrieval::kernels::kPanelRows;

}  // namespace

SearchIndex::SearchIndex(const SearchSource& source) : source_(source) {
  if (source_.pool.size() > 0)
    for (const int label : {1, 0}) {
      const int64_t wanted =
          label == 1 ? source_.options.wanted_positives() : source_.options.wanted_negatives();
      if (wanted > 0) group(label);
    }
  for (size_t fold = 0; fold < source_.vectors.size(); ++fold)
    add_fold(static_cast<int64_t>(fold));
}

void SearchIndex::group(int label) {
  Label& part = labels_.emplace_back();
  part.label = label;
  const retrieval::Pool& pool = source_.pool;
  for (int64_t id = 0; id < pool.size(); ++id)
    if ((pool.label[static_cast<size_t>(id)] >= 0.5F) == (label == 1))
      part.columns.push_back(static_cast<int32_t>(id));
  const auto item_of = [&](int32_t id) { return pool.item[static_cast<size_t>(id)]; };
  std::stable_sort(part.columns.begin(), part.columns.end(),
                   [&](int32_t left, int32_t right) { return item_of(left) < item_of(right); });
  for (size_t column = 0; column < part.columns.size(); ++column) {
    const int32_t item = item_of(part.columns[column]);
    if (!part.item.empty() && part.item.back() == item) continue;
    part.item.push_back(item);
    part.begin.push_back(static_cast<int32_t>(column));
  }
  part.begin.push_back(static_cast<int32_t>(part.columns.size()));
}

void SearchIndex::add_fold(int64_t fold) {
  const retrieval::Texts& vectors = source_.vectors[static_cast<size_t>(fold)];
  const retrieval::Pool& pool = source_.pool;
  std::vector<float>& history = histories_.emplace_back();
  history.resize(pool.user.size() * static_cast<size_t>(vectors.width));
  if (pool.size() > 0)
    retrieval::history_mean(source_.histories, vectors, pool.user, pool.position, 0, history);
  if (source_.options.normalize) retrieval::scale_rows_to_unit(history, vectors.width);
  float& error = errors_.emplace_back(0.0F);
  float& half_error = half_errors_.emplace_back(0.0F);
  for (const Label& label : labels_) {
    Lists& lists = lists_.emplace_back();
    lists.label = label.label;
    lists.fold = fold;
    lists.scan = std::make_unique<ScanTensors>(history, label.columns, vectors.width, source_.scan);
    error = std::max(error, lists.scan->error());
    half_error = std::max(half_error, lists.scan->half_error());
    find_neighbours(vectors, lists, label);
    longest_ = std::max(longest_, lists.length);
  }
}

// Blocks of items against all groups; of each row of products the best are kept.
void SearchIndex::find_neighbours(const retrieval::Texts& vectors, Lists& lists,
                                  const Label& label) const {
  namespace packed = retrieval::kernels;
  const int64_t width = vectors.width, items = vectors.rows();
  const auto groups = static_cast<int64_t>(label.item.size());
  lists.length = std::min(groups, source_.neighbours);
  const int64_t parts = Neighbours::parts(lists.length);
  lists.group.resize(static_cast<size_t>(parts * items * Neighbours::kPart));
  lists.similarity.resize(lists.group.size());
  const int64_t stride = retrieval::padded_columns(groups);
  retrieval::AlignedFloats columns(stride * width);
  retrieval::pack_columns(vectors.item_text.data(), label.item, width, columns.data());
  const int64_t blocks = (items + kBlockItems - 1) / kBlockItems;
  parallel_chunks(blocks, 1, [&](int64_t block, int64_t, int) {
    const int64_t begin = block * kBlockItems, end = std::min(items, begin + kBlockItems);
    std::vector<int32_t> rows(static_cast<size_t>(end - begin));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(begin));
    retrieval::AlignedFloats left(kBlockItems * width), products(kBlockItems * stride);
    retrieval::pack_rows(vectors.item_text.data(), rows, width, left.data());
    packed::multiply({.rows = left.data(),
                      .columns = columns.data(),
                      .row_panels = retrieval::padded_rows(end - begin) / packed::kPanelRows,
                      .column_panels = stride / packed::kPanelColumns,
                      .width = width,
                      .scale = 1,
                      .out = products.data(),
                      .stride = stride});
    std::vector<int32_t> order(static_cast<size_t>(groups));
    for (int64_t item = begin; item < end; ++item) {
      const float* row = products.data() + (item - begin) * stride;
      std::iota(order.begin(), order.end(), 0);
      const auto more = [row](int32_t l, int32_t r) {
        return row[l] != row[r] ? row[l] > row[r] : l < r;
      };
      const auto last = order.begin() + lists.length;
      if (last != order.end()) std::nth_element(order.begin(), last, order.end(), more);
      std::sort(order.begin(), last, more);
      for (int64_t i = 0; i < lists.length; ++i) {
        const auto at = static_cast<size_t>(
            (i / Neighbours::kPart * items + item) * Neighbours::kPart + i % Neighbours::kPart);
        lists.group[at] = order[static_cast<size_t>(i)];
        lists.similarity[at] = row[order[static_cast<size_t>(i)]];
      }
    }
  });
}

void SearchIndex::add_to(SafetensorsWriter& writer) const {
  writer.add<int32_t>("retrieval.user_fold", source_.user_fold);
  writer.add<float>("retrieval.error", errors_);
  writer.add<float>("retrieval.half_error", half_errors_);
  for (size_t fold = 0; fold < source_.vectors.size(); ++fold) {
    const retrieval::Texts& vectors = source_.vectors[fold];
    writer.add<float>(fmt::format("retrieval.items.{}", fold), {vectors.rows(), vectors.width},
                      vectors.item_text);
    writer.add<float>(fmt::format("retrieval.history.{}", fold),
                      {source_.pool.size(), vectors.width},
                      std::span<const float>(histories_[fold]));
  }
  for (const Label& label : labels_) {
    writer.add<int32_t>(fmt::format("retrieval.columns.{}", label.label), label.columns);
    writer.add<int32_t>(fmt::format("retrieval.group_item.{}", label.label), label.item);
    writer.add<int32_t>(fmt::format("retrieval.group_begin.{}", label.label), label.begin);
  }
  for (const Lists& lists : lists_) {
    const auto suffix = fmt::format("{}.{}", lists.fold, lists.label);
    const int64_t rows = source_.vectors.front().rows();
    lists.scan->add_to(writer, suffix);
    const std::vector<int64_t> shape = {Neighbours::parts(lists.length), rows, Neighbours::kPart};
    writer.add<int32_t>("retrieval.neighbours." + suffix, shape,
                        std::span<const int32_t>(lists.group));
    writer.add<float>("retrieval.neighbour_similarity." + suffix, shape,
                      std::span<const float>(lists.similarity));
  }
}

}  // namespace llmcf::serve
