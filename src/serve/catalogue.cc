#include "serve/catalogue.h"

#include <algorithm>

#include <fmt/format.h>

namespace llmcf::serve {

Catalogue::Catalogue(std::shared_ptr<const Bundle> bundle)
    : bundle_(std::move(bundle)), items_(bundle_->spec().items) {
  const SafetensorsReader& reader = bundle_->reader();
  if (reader.contains("items.static")) {
    constants_ = reader.get<float>("items.static", {items_ + 1, -1});
    width_ = reader.tensor("items.static").shape[1];
  }
  retrieval_width_ = bundle_->spec().retrieval_width;
  if (retrieval_width_ == 0) return;
  for (int64_t fold = 0; fold < bundle_->spec().folds; ++fold) {
    vectors_.push_back(
        reader.get<float>(fmt::format("retrieval.items.{}", fold), {items_ + 1, retrieval_width_}));
    for (int label = 0; label < 2; ++label) {
      const auto name = fmt::format("retrieval.neighbours.{}.{}", fold, label);
      Lists& lists = lists_.emplace_back();
      if (!reader.contains(name)) continue;
      lists.length =
          std::min(bundle_->spec().neighbours,
                   reader.tensor(fmt::format("retrieval.group_item.{}", label)).shape.at(0));
      const std::vector<int64_t> shape = {Neighbours::parts(lists.length), items_ + 1,
                                          Neighbours::kPart};
      lists.group = reader.get<int32_t>(name, shape);
      lists.similarity = reader.get<float>(
          fmt::format("retrieval.neighbour_similarity.{}.{}", fold, label), shape);
    }
  }
}

std::optional<int32_t> Catalogue::find(std::string_view name) const {
  if (const auto found = added_rows_.find(name); found != added_rows_.end()) return found->second;
  return bundle_->items().find(name);
}

std::string_view Catalogue::name(int32_t row) const {
  return is_added(row) ? std::string_view(of_added(row).name) : bundle_->items()[row];
}

std::string_view Catalogue::title(int32_t row) const {
  return is_added(row) ? std::string_view(of_added(row).title) : bundle_->item_title(row);
}

std::span<const int32_t> Catalogue::ids_of(size_t field, int32_t row) const {
  if (is_added(row)) return of_added(row).ids[field];
  return bundle_->values(field).ids_of(row);
}

const float* Catalogue::text(int32_t row) const {
  if (is_added(row)) return of_added(row).text.data();
  return bundle_->item_text().data() + row * bundle_->spec().text_dim;
}

Neighbours Catalogue::neighbours(int64_t fold, int label, int32_t row) const {
  const auto at = static_cast<size_t>(fold * 2 + label);
  if (is_added(row)) {
    const AddedItem::List& list = of_added(row).lists[at];
    return {.group = list.group.data(),
            .similarity = list.similarity.data(),
            .length = static_cast<int64_t>(list.group.size())};
  }
  const Lists& lists = lists_[at];
  return {.group = lists.group.data() + row * Neighbours::kPart,
          .similarity = lists.similarity.data() + row * Neighbours::kPart,
          .length = lists.length,
          .stride = (items_ + 1) * Neighbours::kPart};
}

std::shared_ptr<const Catalogue> Catalogue::with(std::span<const std::shared_ptr<AddedItem>> items,
                                                 std::vector<int32_t>& rows) const {
  auto next = std::make_shared<Catalogue>(*this);
  rows.clear();
  for (const std::shared_ptr<AddedItem>& item : items) {
    const auto known = next->added_rows_.find(item->name);
    if (known != next->added_rows_.end()) {
      next->added_[static_cast<size_t>(known->second - items_ - 1)] = item;
      rows.push_back(known->second);
      continue;
    }
    next->added_.push_back(item);
    rows.push_back(static_cast<int32_t>(next->rows() - 1));
    if (!item->name.empty()) next->added_rows_[item->name] = rows.back();
  }
  return next;
}

}  // namespace llmcf::serve
