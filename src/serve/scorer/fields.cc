#include "serve/scorer/fields.h"

#include <algorithm>

namespace llmcf::serve {

// The mean of table rows, and the mean of their first-order weights.
struct FieldPlan::Pooling {
  const Table& table;
  int64_t dim;
  float* out;
  float linear = 0;
  int64_t count = 0;

  Pooling(const Table& of, int64_t width, float* to) : table(of), dim(width), out(to) {
    std::fill_n(out, dim, 0.0F);
  }
  void add(int32_t row, float weight = 1) {
    if (row < 0 || row >= table.rows) row = 0;
    kernels::add_scaled(out, table.values.data() + row * dim, weight, dim);
    if (!table.first_order.empty()) linear += weight * table.first_order[static_cast<size_t>(row)];
    ++count;
  }
  float finish() {
    if (count == 0) return 0;
    const float share = 1.0F / (static_cast<float>(count) + 1e-9F);
    for (int64_t d = 0; count > 1 && d < dim; ++d)
      out[d] *= share;
    return linear * share;
  }
};

FieldPlan::FieldPlan(const Bundle& bundle, ItemLayout& layout)
    : dim_(bundle.spec().embed_dim), paper_(bundle.spec().paper) {
  for (const BundleField& field : bundle.spec().fields)
    if (field.spec.table >= 0) spec_.push_back(field);
  for (const models::TableSpec& table : bundle.spec().tables) {
    Table& view = tables_.emplace_back();
    view.rows = table.rows;
    view.values = bundle.reader().get<float>("weights.tables." + table.name, {table.rows, dim_});
    if (const std::string linear = "first_order." + table.name; bundle.has_weight(linear)) {
      view.first_order = bundle.weight(linear);
      first_order_ = true;
    }
  }
  for (size_t f = 0; f < spec_.size(); ++f)
    (is_item(static_cast<int>(f)) ? item_fields_ : request_fields_).push_back(static_cast<int>(f));
  fields_at_ = layout.add(static_cast<int64_t>(item_fields_.size()) * dim_);
  first_order_at_ = layout.add(1);
}

SplitColumns FieldPlan::columns(int64_t context) const {
  SplitColumns columns;
  int64_t column = 0;
  for (int f = 0; f < static_cast<int>(spec_.size()); ++f)
    for (int64_t d = 0; d < dim_; ++d)
      (is_item(f) ? columns.item : columns.request).push_back(column++);
  for (int64_t c = 0; c < context; ++c)
    columns.context.push_back(column++);
  return columns;
}

// An added item has no row of its own: it reads the out-of-vocabulary row (the padding row where a
// model has none).
int32_t FieldPlan::item_row(const Catalogue& catalogue, const Table& table, int32_t row) const {
  if (!catalogue.is_added(row)) return row;
  return paper_ ? 0 : static_cast<int32_t>(table.rows - 1);
}

void FieldPlan::fill_item(const Catalogue& catalogue, int32_t row, float* constants) const {
  float linear = 0;
  for (size_t i = 0; i < item_fields_.size(); ++i) {
    const auto f = static_cast<size_t>(item_fields_[i]);
    const BundleField& field = spec_[f];
    Pooling pool(tables_[static_cast<size_t>(field.spec.table)], dim_,
                 constants + fields_at_ + static_cast<int64_t>(i) * dim_);
    if (field.kind == ValueKind::kItemId) {
      pool.add(item_row(catalogue, pool.table, row));
    } else if (field.kind == ValueKind::kNumber) {
      const auto& values = catalogue.bundle().values(f).values;
      pool.add(1, catalogue.is_added(row) ? 0.0F : values[static_cast<size_t>(row)]);
    } else {
      for (const int32_t id : catalogue.ids_of(f, row))
        pool.add(id);
      if (field.pads && pool.count == 0) pool.add(0);
    }
    linear += pool.finish();
  }
  constants[first_order_at_] = linear;
}

float FieldPlan::fill_request(const Catalogue& catalogue, const Sample& sample,
                              float* fields) const {
  const Bundle& bundle = catalogue.bundle();
  float linear = 0;
  for (size_t i = 0; i < request_fields_.size(); ++i) {
    const auto f = static_cast<size_t>(request_fields_[i]);
    const BundleField& field = spec_[f];
    Pooling pool(tables_[static_cast<size_t>(field.spec.table)], dim_,
                 fields + static_cast<int64_t>(i) * dim_);
    const bool history = field.spec.role == models::FieldRole::kHistory;
    const bool context = field.spec.role == models::FieldRole::kContext;
    const ContextValue given =
        context && f < sample.context.size() ? sample.context[f] : ContextValue{};
    if (field.kind == ValueKind::kUserId) {
      pool.add(bundle.user_row(sample.user));
    } else if (field.kind == ValueKind::kNumber) {
      const auto& values = bundle.values(f).values;
      pool.add(1, context ? given.number : values[static_cast<size_t>(sample.user)]);
    } else if (history && field.kind == ValueKind::kItemId) {
      for (const int32_t item : sample.history)
        pool.add(item_row(catalogue, pool.table, item));
    } else if (history) {
      for (const int32_t item : sample.history)
        for (const int32_t id : catalogue.ids_of(static_cast<size_t>(field.item_field), item))
          pool.add(id);
    } else {
      for (const int32_t id : context ? given.ids : bundle.values(f).ids_of(sample.user))
        pool.add(id);
      if (field.pads && pool.count == 0) pool.add(0);
    }
    const float part = pool.finish();
    if (!history) linear += part;
  }
  return linear;
}

}  // namespace llmcf::serve
