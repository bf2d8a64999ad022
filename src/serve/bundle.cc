#include "serve/bundle.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"

namespace llmcf::serve {

namespace {

constexpr const char* kEncoderPrefix = "encoder/";

std::string version_of(const SafetensorsReader& reader) {
  Hasher hasher;
  for (const auto& [key, value] : reader.metadata()) {
    hasher.add_field(key);
    hasher.add_field(value);
  }
  return hasher.hex().substr(0, 16);
}

}  // namespace

void describe_bundle(SafetensorsWriter& writer, const BundleSpec& spec) {
  const std::string text = spec.to_json();
  writer.set_metadata("format", kBundleFormat);
  writer.set_metadata("version", kBundleVersion);
  writer.set_metadata("spec", text);
  writer.set_metadata("digest", hash_hex(text));
}

Bundle::Bundle(const std::filesystem::path& path)
    : reader_(path, SafetensorsReader::Check::kHeader) {
  check_header();
  reader_.verify_checksums();
  try {
    spec_ = BundleSpec::from_json(reader_.metadata("spec"));
  } catch (const InputError&) {
    throw;
  } catch (const Error& error) {
    throw InputError(path.string(), 0, error.what());
  }
  version_ = version_of(reader_);
  users_ = Names(reader_, "user_names");
  items_ = Names(reader_, "item_names");
  titles_ = StringColumn(reader_, "item_titles");
  user_row_ = reader_.get<int32_t>("user_row", {spec_.users + 1});
  history_offsets_ = reader_.get<int64_t>("history_offsets", {spec_.users + 2});
  history_items_ = reader_.get<int32_t>("history_items");
  read_fields();
  if (spec_.context.uses_retrieval() && spec_.examples > 0) {
    examples_ = {.user = reader_.get<int32_t>("examples.user", {spec_.examples}),
                 .item = reader_.get<int32_t>("examples.item", {spec_.examples}),
                 .position = reader_.get<int32_t>("examples.position", {spec_.examples}),
                 .label = reader_.get<int32_t>("examples.label", {spec_.examples}),
                 .time = reader_.get<int64_t>("examples.time", {spec_.examples}),
                 .text = StringColumn(reader_, "examples.text")};
  }
  if (spec_.context.kind == "kar")
    user_text_length_ = reader_.get<int32_t>("kar.user_length", {spec_.users + 1});
  if (reader_.contains("item_text"))
    item_text_ = reader_.get<float>("item_text", {spec_.items + 1, spec_.text_dim});
}

// Before any tensor is read: is this a bundle, of this version, and checked throughout?
void Bundle::check_header() const {
  const std::string file = reader_.path().string();
  const auto& metadata = reader_.metadata();
  const auto format = metadata.find("format");
  if (format == metadata.end() || format->second != kBundleFormat)
    throw InputError(file, 0,
                     fmt::format("is no bundle (format '{}'): `llmcf publish` writes one",
                                 format == metadata.end() ? "" : format->second));
  if (const std::string& version = reader_.metadata("version"); version != kBundleVersion)
    throw InputError(file, 0,
                     fmt::format("is a bundle of version '{}', this program reads '{}': publish "
                                 "the run again",
                                 version, kBundleVersion));
  if (hash_hex(reader_.metadata("spec")) != reader_.metadata("digest"))
    throw InputError(file, 0, "the description does not match its checksum: the file was altered");
  for (const auto& [name, view] : reader_.tensors())
    if (!metadata.contains("xxh3." + name))
      throw InputError(file, 0,
                       fmt::format("tensor '{}' has no checksum: the file was altered", name));
}

void Bundle::read_fields() {
  values_.resize(spec_.fields.size());
  vocabularies_.resize(spec_.fields.size());
  for (size_t f = 0; f < spec_.fields.size(); ++f) {
    const BundleField& field = spec_.fields[f];
    const std::string name = "field." + field.spec.name;
    if (field.spec.role == models::FieldRole::kHistory) {
      values_[f] = values_[static_cast<size_t>(field.item_field)];
      continue;
    }
    if (field.kind == ValueKind::kColumn) vocabularies_[f] = Names(reader_, name + ".vocabulary");
    if (field.spec.role == models::FieldRole::kContext) continue;  // a request's own
    const int64_t entities =
        (field.spec.role == models::FieldRole::kUser ? spec_.users : spec_.items) + 1;
    if (field.kind == ValueKind::kColumn)
      values_[f] = {.offsets = reader_.get<int64_t>(name + ".offsets", {entities + 1}),
                    .ids = reader_.get<int32_t>(name + ".ids"),
                    .values = {}};
    if (field.kind == ValueKind::kNumber)
      values_[f].values = reader_.get<float>(name + ".values", {entities});
  }
}

std::span<const int32_t> Bundle::history(int32_t user) const {
  if (user <= 0) return {};
  const auto begin = static_cast<size_t>(history_offsets_[static_cast<size_t>(user)]);
  const auto end = static_cast<size_t>(history_offsets_[static_cast<size_t>(user) + 1]);
  return history_items_.subspan(begin, end - begin);
}

std::span<const float> Bundle::weight(const std::string& name) const {
  return reader_.get<float>("weights." + name);
}

const std::vector<int64_t>& Bundle::weight_shape(const std::string& name) const {
  return reader_.tensor("weights." + name).shape;
}

void Bundle::extract_encoder(const std::filesystem::path& directory) const {
  for (const auto& [name, view] : reader_.tensors()) {
    if (!name.starts_with(kEncoderPrefix)) continue;
    const std::span<const uint8_t> bytes = reader_.get<uint8_t>(name);
    write_file(directory / name.substr(std::string_view(kEncoderPrefix).size()),
               {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
}

}  // namespace llmcf::serve
