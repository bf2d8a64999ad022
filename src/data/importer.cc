#include "data/importer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/strings.h"
#include "data/dataset_format.h"
#include "data/presets.h"
#include "data/times.h"

namespace llmcf::data {

namespace {

std::string_view time_name(TimeFormat format) {
  switch (format) {
    case TimeFormat::kSeconds:
      return "seconds since 1970";
    case TimeFormat::kMilliseconds:
      return "milliseconds since 1970";
    case TimeFormat::kIso8601:
      return "an ISO 8601 time such as 2014-03-01T12:30:00Z";
  }
  return "";
}

// Line ends and other control characters would break prompts and one-line outputs.
void append_clean(std::string_view text, std::string& out) {
  for (const char byte : text)
    out += static_cast<unsigned char>(byte) < 0x20 || byte == 0x7F ? ' ' : byte;
}

// Ids, times and ratings of one batch of interactions; runs on worker threads.
struct EventCells {
  size_t user, item, time, rating;
  bool rated;
  const Table& table;

  void operator()(Batch& batch) const {
    batch.times.resize(batch.rows());
    if (rated) batch.ratings.resize(batch.rows());
    for (size_t row = 0; row < batch.rows(); ++row) {
      if (batch.lines[row] != 0) check(batch, row);
    }
  }

  void check(Batch& batch, size_t row) const {
    for (const auto& [slot, name] : {std::pair(user, &table.user), std::pair(item, &table.item),
                                     std::pair(time, &table.time)}) {
      if (!batch.cell(row, slot).empty()) continue;
      return batch.reject(row, Fault::kMissingValue, fmt::format("column '{}' is empty", *name));
    }
    const auto seconds = parse_time(batch.cell(row, time), table.time_format);
    if (!seconds) {
      return batch.reject(row, Fault::kBadTime,
                          fmt::format("column '{}': expected {}, found '{}'", table.time,
                                      time_name(table.time_format), batch.cell(row, time)));
    }
    batch.times[row] = *seconds;
    if (!rated) return;
    const auto value = parse_double(trim(batch.cell(row, rating)));
    if (!value || !std::isfinite(static_cast<float>(*value))) {
      return batch.reject(row, Fault::kBadNumber,
                          fmt::format("column '{}': expected a number, found '{}'", table.rating,
                                      batch.cell(row, rating)));
    }
    batch.ratings[row] = static_cast<float>(*value);
  }
};

}  // namespace

Importer::Importer(const ImportOptions& options)
    : options_(options), schema_(resolve_schema(options)), faults_(options.skip_bad_rows) {
  if (!schema_.items.present()) options_.items_from_interactions = true;
  builders_.reserve(schema_.fields.size());
  for (const Field& field : schema_.fields)
    builders_.emplace_back(field);
}

ImportSummary Importer::run(const std::filesystem::path& out) {
  read_catalogue();
  read_interactions();
  const ArrangeOptions arranging{options_.deduplicate, options_.k_core,
                                 options_.keep_untouched_items};
  events_ = arrange(std::move(log_), users_.size(), items_.size(), arranging,
                    !builders_of(Side::kContext).empty());
  if (events_.item.empty()) {
    throw Error(fmt::format(
        "{}: no interaction is left{}; nothing was written", schema_.interactions.path.string(),
        options_.k_core > 0 ? fmt::format(" (k_core: {})", options_.k_core) : ""));
  }
  read_users();
  finish_fields();
  build_texts();
  write(out);

  summary_.users = static_cast<int64_t>(events_.user_row.size()) - 1;
  summary_.items = static_cast<int64_t>(events_.item_row.size()) - 1;
  summary_.events = static_cast<int64_t>(events_.item.size());
  summary_.untouched_items = events_.untouched_items;
  summary_.duplicate_events = events_.duplicates;
  summary_.dropped_by_core = events_.dropped_by_core;
  summary_.bad_rows = faults_.total();
  summary_.bad_rows_by_reason = faults_.by_reason();
  summary_.first_bad_rows = faults_.first();
  return summary_;
}

Importer::Builders Importer::builders_of(Side side) {
  Builders found;
  for (FieldBuilder& builder : builders_) {
    if (builder.field().side == side) found.push_back(&builder);
  }
  return found;
}

std::vector<std::string> Importer::columns_of(const Table& table, Side side) {
  std::vector<std::string> columns;
  for (const std::string* name :
       {&table.user, &table.item, &table.time, &table.rating, &table.title}) {
    if (!name->empty()) columns.push_back(*name);
  }
  for (const FieldBuilder* builder : builders_of(side))
    columns.push_back(builder->source());
  return columns;
}

std::vector<size_t> Importer::slots_of(const TableReader& reader, const Builders& builders) {
  std::vector<size_t> slots;
  for (const FieldBuilder* builder : builders)
    slots.push_back(reader.slot(builder->source()));
  return slots;
}

bool Importer::append(const Builders& builders, const std::vector<size_t>& slots,
                      const Batch& batch, size_t row, TableReader& reader) {
  for (size_t index = 0; index < builders.size(); ++index) {
    const std::string_view cell = batch.cell(row, slots[index]);
    if (builders[index]->accepts(cell)) continue;
    reader.fault(
        batch.lines[row], Fault::kBadNumber,
        fmt::format("column '{}': expected a number, found '{}'", builders[index]->source(), cell));
    return false;
  }
  for (size_t index = 0; index < builders.size(); ++index)
    builders[index]->append(batch.cell(row, slots[index]));
  return true;
}

void Importer::read_catalogue() {
  const Table& table = schema_.items;
  if (!table.present()) return;
  TableReader reader(table, columns_of(table, Side::kItem), faults_);
  const Builders builders = builders_of(Side::kItem);
  const std::vector<size_t> slots = slots_of(reader, builders);
  const size_t item = reader.slot(table.item);
  const bool titled = !table.title.empty();
  const size_t title = titled ? reader.slot(table.title) : 0;
  reader.read(
      [](Batch&) {},
      [&](const Batch& batch, size_t row) {
        const std::string_view id = batch.cell(row, item);
        if (id.empty()) {
          return reader.fault(batch.lines[row], Fault::kMissingValue,
                              fmt::format("column '{}' is empty", table.item));
        }
        if (items_.find(id)) {
          ++summary_.duplicate_items;
          return;
        }
        if (!append(builders, slots, batch, row, reader)) return;
        items_.insert(id);
        titles_.push_back(titled ? title_arena_.copy(batch.cell(row, title)) : std::string_view());
      });
  catalogue_rows_ = items_.size();
}

void Importer::read_interactions() {
  const Table& table = schema_.interactions;
  TableReader reader(table, columns_of(table, Side::kContext), faults_);
  const Builders builders = builders_of(Side::kContext);
  const std::vector<size_t> slots = slots_of(reader, builders);
  const bool rated = !table.rating.empty();
  const EventCells cells{reader.slot(table.user),
                         reader.slot(table.item),
                         reader.slot(table.time),
                         rated ? reader.slot(table.rating) : 0,
                         rated,
                         table};
  const bool open = options_.items_from_interactions;
  summary_.rows_read = reader.read(cells, [&](const Batch& batch, size_t row) {
    if (options_.exclude_user && options_.exclude_user(batch.cell(row, cells.user))) {
      ++summary_.excluded_events;
      return;
    }
    const std::string_view name = batch.cell(row, cells.item);
    const auto item = open ? std::optional<int32_t>(items_.insert(name)) : items_.find(name);
    if (!item) {
      return reader.fault(batch.lines[row], Fault::kUnknownItem,
                          fmt::format("'{}' is not in {}; add it there, or set "
                                      "items_from_interactions: true",
                                      name, schema_.items.path.string()));
    }
    if (!append(builders, slots, batch, row, reader)) return;
    log_.user.push_back(users_.insert(batch.cell(row, cells.user)));
    log_.item.push_back(*item);
    log_.time.push_back(batch.times[row]);
    if (rated) log_.rating.push_back(batch.ratings[row]);
  });
  if (schema_.items.present()) summary_.added_items = items_.size() - catalogue_rows_;
}

// Attributes of users that have events; the first row of a user counts.
void Importer::read_users() {
  const Builders builders = builders_of(Side::kUser);
  user_rows_.assign(static_cast<size_t>(users_.size()), -1);
  if (!schema_.users.present() || builders.empty()) return;
  const Table& table = schema_.users;
  TableReader reader(table, columns_of(table, Side::kUser), faults_);
  const std::vector<size_t> slots = slots_of(reader, builders);
  const size_t user = reader.slot(table.user);
  reader.read([](Batch&) {},
              [&](const Batch& batch, size_t row) {
                const std::string_view id = batch.cell(row, user);
                if (id.empty()) {
                  return reader.fault(batch.lines[row], Fault::kMissingValue,
                                      fmt::format("column '{}' is empty", table.user));
                }
                const auto known = users_.find(id);
                if (!known || user_rows_[static_cast<size_t>(*known)] >= 0) return;
                const int64_t next = builders.front()->rows();
                if (append(builders, slots, batch, row, reader))
                  user_rows_[static_cast<size_t>(*known)] = next;
              });
}

void Importer::finish_fields() {
  std::vector<int64_t> items = events_.item_row;
  for (int64_t& row : items) {
    if (row >= catalogue_rows_) row = -1;  // added from the interactions
  }
  std::vector<int64_t> users = events_.user_row;
  for (int64_t& row : users) {
    if (row >= 0) row = user_rows_[static_cast<size_t>(row)];
  }
  for (FieldBuilder& builder : builders_) {
    const Side side = builder.field().side;
    builder.finish(side == Side::kItem   ? std::span<const int64_t>(items)
                   : side == Side::kUser ? std::span<const int64_t>(users)
                                         : std::span<const int64_t>(events_.input));
  }
}

void Importer::build_texts() {
  for (size_t item = 0; item < events_.item_row.size(); ++item) {
    const int64_t row = events_.item_row[item];
    const bool known = row >= 0 && row < static_cast<int64_t>(titles_.size());
    item_titles_.push_back(known ? titles_[static_cast<size_t>(row)] : std::string_view());
    item_texts_.push_back(text_of(static_cast<int64_t>(item)));
  }
}

std::string Importer::text_of(int64_t item) const {
  std::string text;
  const auto add = [&](std::string_view name, std::string_view value) {
    if (trim(value).empty()) return;
    if (!text.empty()) text += "; ";
    text += name;
    text += ": ";
    append_clean(trim(value), text);
  };
  add("title", item_titles_[item]);
  for (const FieldBuilder& builder : builders_) {
    const Field& field = builder.field();
    if (field.side != Side::kItem || field.buckets > 0 || field.name == "title") continue;
    if (field.kind == Kind::kText && field.source == schema_.items.title) continue;
    add(field.name, builder.joined(item));
  }
  return text;
}

std::string Importer::dataset_name() const {
  if (!options_.name.empty()) return options_.name;
  const auto& place =
      options_.path.empty() ? schema_.interactions.path.parent_path() : options_.path;
  const auto absolute = std::filesystem::absolute(place).lexically_normal();
  const auto name =
      absolute.filename().empty() ? absolute.parent_path().filename() : absolute.filename();
  return name.string();
}

void Importer::write(const std::filesystem::path& out) {
  SafetensorsWriter writer;
  std::vector<Field> fields;
  for (const FieldBuilder& builder : builders_) {
    fields.push_back(builder.field());
    builder.add_to(writer);
  }
  write_header(writer, dataset_name(), fields);
  writer.add("user_offsets", events_.user_offsets);
  writer.add("event_item", events_.item);
  writer.add("event_time", events_.time);
  if (!events_.rating.empty()) writer.add("event_rating", events_.rating);
  StringColumnBuilder users;
  for (const int64_t row : events_.user_row)
    users.push_back(row < 0 ? std::string_view() : users_[row]);
  StringColumnBuilder items;
  for (const int64_t row : events_.item_row)
    items.push_back(row < 0 ? std::string_view() : items_[row]);
  users.add_to(writer, "user_names");
  items.add_to(writer, "item_names");
  item_titles_.add_to(writer, "item_titles");
  item_texts_.add_to(writer, "item_texts");
  writer.write(out);
}

}  // namespace llmcf::data
