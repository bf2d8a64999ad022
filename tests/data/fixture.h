// What the tests of importing share: a directory to write files into, an import, and its data set.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include "core/files.h"
#include "data/dataset.h"
#include "data/import.h"

namespace llmcf::data {

inline std::string gzip(std::string_view text) {
  std::string out(compressBound(text.size()) + 64, '\0');
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string zstd(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

class Workshop {
 public:
  std::filesystem::path put(const std::string& name, std::string_view content) const {
    write_file(path(name), content);
    return path(name);
  }
  std::filesystem::path path(const std::string& name = "") const {
    return name.empty() ? directory_.path() : directory_.path() / name;
  }
  std::filesystem::path out() const { return directory_.path() / "out" / "dataset.safetensors"; }

  // Options for this directory.
  ImportOptions options(const std::string& format) const {
    ImportOptions made;
    made.format = format;
    made.path = directory_.path();
    return made;
  }
  // Options for a `table` whose schema is written here.
  ImportOptions table(std::string_view schema) const {
    ImportOptions made = options("table");
    made.schema_file = put("schema.yaml", schema);
    return made;
  }
  Dataset import(const ImportOptions& options) {
    summary = import_dataset(options, out());
    return Dataset(out());
  }

  ImportSummary summary;

 private:
  TemporaryDirectory directory_;
};

// "a,b" of a categorical field's values.
inline std::string values_of(const Dataset& dataset, std::string_view field, int64_t entity) {
  const FieldColumn* column = dataset.find_field(field);
  if (column == nullptr) return "<no field>";
  std::string text;
  for (int64_t at = column->offsets[static_cast<size_t>(entity)];
       at < column->offsets[static_cast<size_t>(entity) + 1]; ++at) {
    if (!text.empty()) text += ",";
    text += column->vocabulary[column->ids[static_cast<size_t>(at)]];
  }
  return text;
}

// "user:item@time ..." of all events, by the input's names.
inline std::string events_of(const Dataset& dataset) {
  std::string text;
  for (int64_t user = 1; user <= dataset.num_users(); ++user) {
    for (int64_t event = dataset.user_offsets()[static_cast<size_t>(user)];
         event < dataset.user_offsets()[static_cast<size_t>(user) + 1]; ++event) {
      if (!text.empty()) text += ' ';
      text += std::string(dataset.user_name(user)) + ':' +
              std::string(dataset.item_name(dataset.event_item()[static_cast<size_t>(event)])) +
              '@' + std::to_string(dataset.event_time()[static_cast<size_t>(event)]);
    }
  }
  return text;
}

// The message of the Error that `work` throws, or "no error".
template <typename F>
std::string error_of(F&& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace llmcf::data
