#include "data/dataset.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/dataset_format.h"

namespace llmcf::data {

namespace {

using Json = nlohmann::json;

constexpr std::string_view kSides[] = {"user", "item", "context"};
constexpr std::string_view kKinds[] = {"categorical", "multi_categorical", "numeric", "text"};

template <size_t N>
int index_of(const std::string_view (&names)[N], const std::string& name) {
  const auto found = std::find(std::begin(names), std::end(names), name);
  if (found == std::end(names)) throw Error(fmt::format("unknown '{}'", name));
  return static_cast<int>(found - std::begin(names));
}

Json to_json(const Field& field) {
  return {{"name", field.name},
          {"side", side_name(field.side)},
          {"kind", kind_name(field.kind)},
          {"source", field.source},
          {"history", field.history},
          {"buckets", field.buckets},
          {"separator", std::string(1, field.separator)},
          {"paths", field.paths},
          {"drop_shared", field.drop_shared}};
}

Field from_json(const Json& json) {
  Field field;
  field.name = json.at("name");
  field.side = static_cast<Side>(index_of(kSides, json.at("side")));
  field.kind = static_cast<Kind>(index_of(kKinds, json.at("kind")));
  field.source = json.at("source");
  field.history = json.at("history");
  field.buckets = json.at("buckets");
  field.separator = json.at("separator").get<std::string>().at(0);
  field.paths = json.at("paths");
  field.drop_shared = json.at("drop_shared");
  return field;
}

[[noreturn]] void damaged(const SafetensorsReader& reader, const std::string& what) {
  throw InputError(reader.path().string(), 0,
                   fmt::format("not a sound data set: {}; import it again", what));
}

void check_offsets(const SafetensorsReader& reader, std::span<const int64_t> offsets,
                   int64_t entries, const std::string& name) {
  const bool sound = !offsets.empty() && offsets.front() == 0 && offsets.back() == entries &&
                     std::is_sorted(offsets.begin(), offsets.end());
  if (!sound) damaged(reader, name + " is not ascending from 0 to the number of entries");
}

FieldColumn read_column(const SafetensorsReader& reader, const Field& field, int64_t entities) {
  FieldColumn column;
  column.field = field;
  const std::string name = "field." + field.name;
  if (field.kind == Kind::kText) {
    column.text = StringColumn(reader, name + ".text");
    if (column.text.size() != entities) damaged(reader, name + ".text has another length");
  } else if (field.kind == Kind::kNumeric) {
    column.values = reader.get<float>(name + ".values", {entities});
  } else {
    column.offsets = reader.get<int64_t>(name + ".offsets", {entities + 1});
    column.ids = reader.get<int32_t>(name + ".ids");
    column.vocabulary = StringColumn(reader, name + ".vocabulary");
    check_offsets(reader, column.offsets, static_cast<int64_t>(column.ids.size()),
                  name + ".offsets");
    for (const int32_t id : column.ids) {
      if (id < 1 || id >= column.vocabulary.size()) damaged(reader, name + ".ids is out of range");
    }
  }
  return column;
}

}  // namespace

std::string_view side_name(Side side) {
  return kSides[static_cast<size_t>(side)];
}

std::string_view kind_name(Kind kind) {
  return kKinds[static_cast<size_t>(kind)];
}

void write_header(SafetensorsWriter& writer, const std::string& name,
                  const std::vector<Field>& fields) {
  Json list = Json::array();
  for (const Field& field : fields)
    list.push_back(to_json(field));
  writer.set_metadata("format", kDatasetFormat);
  writer.set_metadata("version", kDatasetVersion);
  writer.set_metadata("name", name);
  writer.set_metadata("fields", list.dump());
}

std::vector<Field> read_header(const SafetensorsReader& reader) {
  const auto& metadata = reader.metadata();
  const auto format = metadata.find("format");
  if (format == metadata.end() || format->second != kDatasetFormat)
    throw InputError(reader.path().string(), 0, "not an llmcf data set; make one by importing");
  if (reader.metadata("version") != kDatasetVersion) {
    throw InputError(reader.path().string(), 0,
                     fmt::format("data set format version {}, this program reads version {}; "
                                 "import it again",
                                 reader.metadata("version"), kDatasetVersion));
  }
  std::vector<Field> fields;
  try {
    for (const Json& entry : Json::parse(reader.metadata("fields")))
      fields.push_back(from_json(entry));
  } catch (const std::exception& error) {
    damaged(reader, fmt::format("its list of fields cannot be read ({})", error.what()));
  }
  return fields;
}

Dataset::Dataset(const std::filesystem::path& path)
    : reader_(std::make_unique<SafetensorsReader>(path)) {
  const std::vector<Field> fields = read_header(*reader_);
  name_ = reader_->metadata("name");
  user_offsets_ = reader_->get<int64_t>("user_offsets");
  event_item_ = reader_->get<int32_t>("event_item");
  event_time_ = reader_->get<int64_t>("event_time", {num_events()});
  if (reader_->contains("event_rating"))
    event_rating_ = reader_->get<float>("event_rating", {num_events()});
  user_names_ = StringColumn(*reader_, "user_names");
  item_names_ = StringColumn(*reader_, "item_names");
  item_titles_ = StringColumn(*reader_, "item_titles");
  item_texts_ = StringColumn(*reader_, "item_texts");
  check_offsets(*reader_, user_offsets_, num_events(), "user_offsets");
  const auto users = static_cast<int64_t>(user_offsets_.size()) - 1;
  if (user_names_.size() != users || item_titles_.size() != item_names_.size() ||
      item_texts_.size() != item_names_.size())
    damaged(*reader_, "columns differ in length");
  for (const int32_t item : event_item_) {
    if (item < 1 || item > num_items()) damaged(*reader_, "event_item is out of range");
  }
  for (const Field& field : fields) {
    const int64_t entities = field.side == Side::kUser   ? num_users() + 1
                             : field.side == Side::kItem ? num_items() + 1
                                                         : num_events();
    fields_.push_back(read_column(*reader_, field, entities));
  }
}

int64_t Dataset::num_users() const {
  return user_names_.size() - 1;
}

int64_t Dataset::num_items() const {
  return item_names_.size() - 1;
}

int64_t Dataset::num_events() const {
  return static_cast<int64_t>(event_item_.size());
}

const std::string& Dataset::name() const {
  return name_;
}

const FieldColumn* Dataset::find_field(std::string_view name) const {
  for (const FieldColumn& column : fields_) {
    if (column.field.name == name) return &column;
  }
  return nullptr;
}

}  // namespace llmcf::data
