#include "data/field_builder.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"
#include "core/strings.h"
#include "data/batch.h"

namespace llmcf::data {

namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

// Calls f for every piece of `text` between separators of any length.
template <typename F>
void for_each_piece(std::string_view text, std::string_view separator, F&& f) {
  for (;;) {
    const size_t end = text.find(separator);
    f(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + separator.size());
  }
}

}  // namespace

FieldBuilder::FieldBuilder(Field field) : field_(std::move(field)) {
  if (field_.source.empty()) field_.source = field_.name;
}

bool FieldBuilder::accepts(std::string_view cell) const {
  if (field_.kind != Kind::kNumeric) return true;
  cell = trim(cell);
  if (cell.empty()) return true;
  const auto number = parse_double(cell);
  return number && std::isfinite(static_cast<float>(*number));
}

void FieldBuilder::append(std::string_view cell) {
  ++rows_;
  if (field_.kind == Kind::kNumeric) {
    const auto number = parse_double(trim(cell));
    numbers_.push_back(number ? static_cast<float>(*number) : kNone);
  } else if (field_.kind == Kind::kText) {
    std::string text;
    for (const std::string_view piece : split(cell, kListMark)) {
      if (!text.empty() && !piece.empty()) text += ", ";
      text += piece;
    }
    texts_.push_back(arena_.copy(text));
  } else {
    append_ids(cell);
    offsets_.push_back(static_cast<int64_t>(ids_.size()));
  }
}

void FieldBuilder::append_ids(std::string_view cell) {
  if (field_.kind == Kind::kCategorical) {
    // The first element of a list, as the paper's code takes the first brand.
    for (const std::string_view piece : split(cell, kListMark)) {
      if (static_cast<int64_t>(ids_.size()) == offsets_.back()) append_value(piece);
    }
  } else if (cell.starts_with(kListMark)) {
    for (const std::string_view piece : split(cell, kListMark))
      append_value(piece);
  } else if (field_.paths) {
    append_paths(cell);
  } else {
    for (const std::string_view piece : split(cell, field_.separator))
      append_value(piece);
  }
}

// "A > B || A > C": every level of every alternative.
void FieldBuilder::append_paths(std::string_view cell) {
  for_each_piece(cell, "||", [&](std::string_view path) {
    for_each_piece(path, " > ", [&](std::string_view level) { append_value(level); });
  });
}

void FieldBuilder::append_value(std::string_view value) {
  value = trim(value);
  if (value.empty()) return;
  const int32_t id = values_.insert(value);
  if (std::find(ids_.begin() + offsets_.back(), ids_.end(), id) == ids_.end()) ids_.push_back(id);
}

void FieldBuilder::finish(std::span<const int64_t> rows) {
  if (field_.kind == Kind::kText) {
    for (const int64_t row : rows)
      text_column_.push_back(row < 0 ? std::string_view() : texts_[static_cast<size_t>(row)]);
  } else if (field_.kind == Kind::kNumeric) {
    finish_numbers(rows);
  } else {
    finish_ids(rows);
  }
}

void FieldBuilder::finish_ids(std::span<const int64_t> rows) {
  std::vector<int64_t> offsets = {0};
  offsets.reserve(rows.size() + 1);
  std::vector<int32_t> ids;
  ids.reserve(ids_.size());
  for (const int64_t row : rows) {
    if (row >= 0) {
      const auto at = static_cast<size_t>(row);
      ids.insert(ids.end(), ids_.begin() + offsets_[at], ids_.begin() + offsets_[at + 1]);
    }
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  offsets_ = std::move(offsets);
  ids_ = std::move(ids);
  if (field_.drop_shared) drop_shared();

  std::vector<int32_t> renumbered(static_cast<size_t>(values_.size()), 0);
  vocabulary_.push_back("");
  for (int32_t& id : ids_) {
    int32_t& fresh = renumbered[static_cast<size_t>(id)];
    if (fresh == 0) {
      fresh = static_cast<int32_t>(vocabulary_.size());
      vocabulary_.push_back(values_[id]);
    }
    id = fresh;
  }
}

void FieldBuilder::drop_shared() {
  std::vector<int64_t> count(static_cast<size_t>(values_.size()), 0);
  int64_t entities = 0;
  for (size_t entity = 0; entity + 1 < offsets_.size(); ++entity)
    entities += offsets_[entity + 1] > offsets_[entity];
  for (const int32_t id : ids_)
    ++count[static_cast<size_t>(id)];
  if (entities < 2) return;
  size_t kept = 0;
  int64_t begin = 0;
  for (size_t entity = 0; entity + 1 < offsets_.size(); ++entity) {
    const int64_t end = offsets_[entity + 1];
    for (int64_t at = begin; at < end; ++at) {
      const int32_t id = ids_[static_cast<size_t>(at)];
      if (count[static_cast<size_t>(id)] < entities) ids_[kept++] = id;
    }
    begin = end;
    offsets_[entity + 1] = static_cast<int64_t>(kept);
  }
  ids_.resize(kept);
}

void FieldBuilder::finish_numbers(std::span<const int64_t> rows) {
  std::vector<float> numbers;
  numbers.reserve(rows.size());
  for (const int64_t row : rows)
    numbers.push_back(row < 0 ? kNone : numbers_[static_cast<size_t>(row)]);
  numbers_ = std::move(numbers);
  if (field_.buckets > 0)
    bucketise();
  else
    standardise();
}

void FieldBuilder::standardise() {
  double sum = 0;
  double squares = 0;
  int64_t count = 0;
  for (const float number : numbers_) {
    if (std::isnan(number)) continue;
    sum += number;
    ++count;
  }
  const double mean = count > 0 ? sum / static_cast<double>(count) : 0;
  for (const float number : numbers_) {
    if (!std::isnan(number)) squares += (number - mean) * (number - mean);
  }
  const double deviation = count > 0 ? std::sqrt(squares / static_cast<double>(count)) : 0;
  for (float& number : numbers_) {
    const bool flat = std::isnan(number) || deviation <= 0;
    number = flat ? 0.0F : static_cast<float>((number - mean) / deviation);
  }
}

// Buckets of about equal size; equal numbers share one, so there may be fewer than asked for.
void FieldBuilder::bucketise() {
  std::vector<float> sorted;
  for (const float number : numbers_) {
    if (!std::isnan(number)) sorted.push_back(number);
  }
  std::sort(sorted.begin(), sorted.end());
  std::vector<float> edges;  // lower edges of the buckets
  for (int bucket = 0; bucket < field_.buckets && !sorted.empty(); ++bucket) {
    const size_t at =
        sorted.size() * static_cast<size_t>(bucket) / static_cast<size_t>(field_.buckets);
    if (edges.empty() || sorted[at] > edges.back()) edges.push_back(sorted[at]);
  }
  vocabulary_.push_back("");
  for (size_t bucket = 0; bucket < edges.size(); ++bucket) {
    vocabulary_.push_back(bucket + 1 < edges.size()
                              ? fmt::format("[{}, {})", edges[bucket], edges[bucket + 1])
                              : fmt::format("[{}, {}]", edges[bucket], sorted.back()));
  }
  offsets_ = {0};
  for (const float number : numbers_) {
    if (!std::isnan(number)) {
      const auto above = std::upper_bound(edges.begin(), edges.end(), number);
      ids_.push_back(static_cast<int32_t>(above - edges.begin()));
    }
    offsets_.push_back(static_cast<int64_t>(ids_.size()));
  }
  numbers_.clear();
  field_.kind = Kind::kCategorical;
}

std::string FieldBuilder::joined(int64_t entity) const {
  if (field_.kind == Kind::kText) return std::string(text_column_[entity]);
  std::string text;
  if (field_.kind == Kind::kNumeric) return text;
  const auto at = static_cast<size_t>(entity);
  for (int64_t index = offsets_[at]; index < offsets_[at + 1]; ++index) {
    if (!text.empty()) text += ", ";
    text += vocabulary_[ids_[static_cast<size_t>(index)]];
  }
  return text;
}

void FieldBuilder::add_to(SafetensorsWriter& writer) const {
  const std::string name = "field." + field_.name;
  if (field_.kind == Kind::kText) {
    text_column_.add_to(writer, name + ".text");
  } else if (field_.kind == Kind::kNumeric) {
    writer.add(name + ".values", numbers_);
  } else {
    writer.add(name + ".offsets", offsets_);
    writer.add(name + ".ids", ids_);
    vocabulary_.add_to(writer, name + ".vocabulary");
  }
}

}  // namespace llmcf::data
