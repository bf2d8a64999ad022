// The inputs of a recorded case (golden/README.md) as a batch. Dimensions come from the files.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/safetensors.h"
#include "models/batch.h"

namespace llmcf::models::testing {

// A copy of a recorded tensor's values (the files do not align their tensors).
template <typename T>
std::vector<T> values_of(const SafetensorsReader& reader, const std::string& key) {
  const TensorView& view = reader.tensor(key);
  if (view.dtype != dtype_of<T>()) throw Error(key + " has another type");
  std::vector<T> values(view.bytes / sizeof(T));
  std::memcpy(values.data(), view.data, view.bytes);
  return values;
}

// Builds what train/batch_builder would: samples, bags over distinct rows, texts, slots.
class GoldenBatchBuilder {
 public:
  explicit GoldenBatchBuilder(const SafetensorsReader& reader)
      : reader_(reader),
        brand_(values_of<int64_t>(reader, "in.item_brand")),
        category_(values_of<int64_t>(reader, "in.item_category")),
        text_(values_of<float>(reader, "in.item_text")) {
    per_item_ = reader.tensor("in.item_category").shape[1];
    width_ = reader.tensor("in.item_text").shape[1];
  }

  Batch build(bool with_examples, bool with_text, bool with_histories) {
    const auto labels = values_of<float>(reader_, "in.label");
    batch_.labels.assign(labels.begin(), labels.end());
    batch_.queries = static_cast<int64_t>(labels.size());
    batch_.fields.resize(7);
    batch_.tables.resize(4);
    for (Bag& bag : batch_.fields)
      bag.offsets = {0};
    with_text_ = with_text;
    for (int64_t b = 0; b < batch_.queries; ++b)
      add_sample("in.", b);
    if (with_histories) add_histories();
    if (with_examples) add_examples();
    batch_.samples = static_cast<int64_t>(batch_.fields[0].offsets.size()) - 1;
    for (int t = 0; t < 4; ++t)
      make_slab(t);
    return std::move(batch_);
  }

 private:
  static constexpr int kTable[7] = {0, 1, 2, 3, 1, 2, 3};

  void add_sample(const std::string& prefix, int64_t row) {
    const int64_t user = values_of<int64_t>(reader_, prefix + "user")[static_cast<size_t>(row)];
    const int64_t item = values_of<int64_t>(reader_, prefix + "item")[static_cast<size_t>(row)];
    push(0, user);
    push(1, item);
    push(2, brand_[static_cast<size_t>(item)]);
    push_categories(3, item);
    const std::vector<int64_t> seen = history_of(prefix, row);
    for (const int64_t id : seen) {
      push(4, id);
      if (const int64_t brand = brand_[static_cast<size_t>(id)]; brand != 0) push(5, brand);
      push_categories(6, id);
    }
    for (Bag& bag : batch_.fields)
      bag.offsets.push_back(static_cast<int32_t>(bag.ids.size()));
    if (with_text_) add_text(item, seen);
  }

  std::vector<int64_t> history_of(const std::string& prefix, int64_t row) const {
    const auto history = values_of<int64_t>(reader_, prefix + "history");
    const int64_t length = reader_.tensor(prefix + "history").shape[1];
    std::vector<int64_t> seen;
    for (int64_t i = 0; i < length; ++i)
      if (const int64_t id = history[static_cast<size_t>(row * length + i)]; id != 0)
        seen.push_back(id);
    return seen;
  }

  // The queries' histories item by item: id, brand (0 = row 0 of the table), categories.
  void add_histories() {
    HistoryItems& history = batch_.history;
    history.offsets = {0};
    history.fields.resize(3);
    for (Bag& bag : history.fields)
      bag.offsets = {0};
    std::vector<int64_t> distinct;
    for (int64_t b = 0; b < batch_.queries; ++b) {
      for (const int64_t id : history_of("in.", b)) {
        const auto known = std::find(distinct.begin(), distinct.end(), id);
        history.items.push_back(static_cast<int32_t>(known - distinct.begin()));
        if (known == distinct.end()) distinct.push_back(id);
      }
      history.offsets.push_back(static_cast<int32_t>(history.items.size()));
    }
    for (const int64_t id : distinct) {
      history.fields[0].ids.push_back(static_cast<int32_t>(id));
      history.fields[1].ids.push_back(static_cast<int32_t>(brand_[static_cast<size_t>(id)]));
      for (int64_t c = 0; c < per_item_; ++c)
        if (const int64_t of = category_[static_cast<size_t>(id * per_item_ + c)]; of != 0)
          history.fields[2].ids.push_back(static_cast<int32_t>(of));
      for (Bag& bag : history.fields)
        bag.offsets.push_back(static_cast<int32_t>(bag.ids.size()));
    }
    history.distinct = static_cast<int64_t>(distinct.size());
  }

  void push(size_t field, int64_t id) {
    batch_.fields[field].ids.push_back(static_cast<int32_t>(id));
  }

  void push_categories(size_t field, int64_t item) {
    for (int64_t c = 0; c < per_item_; ++c)
      if (const int64_t id = category_[static_cast<size_t>(item * per_item_ + c)]; id != 0)
        push(field, id);
  }

  void add_text(int64_t item, const std::vector<int64_t>& history) {
    const auto known = std::find(batch_.text_items.begin(), batch_.text_items.end(), item);
    batch_.sample_text.push_back(static_cast<int32_t>(known - batch_.text_items.begin()));
    if (known == batch_.text_items.end()) batch_.text_items.push_back(static_cast<int32_t>(item));
    for (int64_t w = 0; w < width_; ++w) {
      float sum = 0;
      for (const int64_t id : history)
        sum += text_[static_cast<size_t>(id * width_ + w)];
      batch_.history_text.push_back(sum / (static_cast<float>(history.size()) + 1e-9F));
    }
  }

  void add_examples() {
    const auto chosen = values_of<int64_t>(reader_, "in.icl");
    batch_.slots = reader_.tensor("in.icl").shape[1];
    for (const int64_t id : chosen) {
      auto& ids = batch_.example_ids;
      const auto known = std::find(ids.begin(), ids.end(), id);
      batch_.slot.push_back(static_cast<int32_t>(known - ids.begin()));
      batch_.slot_similarity.push_back(0.0F);
      if (known != ids.end()) continue;
      ids.push_back(static_cast<int32_t>(id));
      batch_.example_label.push_back(static_cast<int32_t>(
          values_of<int64_t>(reader_, "in.pool.label")[static_cast<size_t>(id)]));
      add_sample("in.pool.", id);
    }
  }

  // The bags over one table, those of the histories included.
  std::vector<Bag*> bags_over(int table) {
    std::vector<Bag*> bags;
    for (size_t f = 0; f < 7; ++f)
      if (kTable[f] == table) bags.push_back(&batch_.fields[f]);
    for (size_t g = 0; g < batch_.history.fields.size(); ++g)
      if (kTable[g + 1] == table) bags.push_back(&batch_.history.fields[g]);
    return bags;
  }

  // Ids become positions in the ascending list of distinct rows.
  void make_slab(int table) {
    auto& rows = batch_.tables[static_cast<size_t>(table)].rows;
    for (const Bag* bag : bags_over(table))
      rows.insert(rows.end(), bag->ids.begin(), bag->ids.end());
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    for (Bag* bag : bags_over(table))
      for (int32_t& id : bag->ids)
        id = static_cast<int32_t>(std::lower_bound(rows.begin(), rows.end(), id) - rows.begin());
  }

  const SafetensorsReader& reader_;
  std::vector<int64_t> brand_, category_;
  std::vector<float> text_;
  int64_t per_item_ = 0, width_ = 0;
  bool with_text_ = false;
  Batch batch_;
};

}  // namespace llmcf::models::testing
