// Safetensors files: nothing in a header is believed before it is checked against the file.
#include "core/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/hash.h"
#include "core/threads.h"

namespace llmcf {

namespace {

using Json = nlohmann::json;

constexpr size_t kAlignment = 64;
constexpr uint64_t kLargestHeader = uint64_t{1} << 30;
constexpr std::string_view kChecksumPrefix = "xxh3.";

struct DtypeRow {
  Dtype dtype;
  std::string_view name;
  size_t size;
};

constexpr std::array<DtypeRow, 13> kDtypes = {{{Dtype::kF64, "F64", 8},
                                               {Dtype::kF32, "F32", 4},
                                               {Dtype::kF16, "F16", 2},
                                               {Dtype::kBF16, "BF16", 2},
                                               {Dtype::kI64, "I64", 8},
                                               {Dtype::kI32, "I32", 4},
                                               {Dtype::kI16, "I16", 2},
                                               {Dtype::kI8, "I8", 1},
                                               {Dtype::kU8, "U8", 1},
                                               {Dtype::kU16, "U16", 2},
                                               {Dtype::kU32, "U32", 4},
                                               {Dtype::kU64, "U64", 8},
                                               {Dtype::kBool, "BOOL", 1}}};

const DtypeRow& row_of(Dtype dtype) {
  return *std::find_if(kDtypes.begin(), kDtypes.end(),
                       [&](const DtypeRow& row) { return row.dtype == dtype; });
}

// Element count, or -1 if negative or overflowing.
int64_t element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) return -1;
  }
  return count;
}

TensorView parse_tensor(const std::string& name, const Json& entry, const std::byte* payload,
                        size_t payload_bytes, const std::string& file) {
  const auto fail = [&](const std::string& reason) -> InputError {
    return InputError(file, 0, fmt::format("tensor '{}': {}", name, reason));
  };
  const std::string dtype = entry.at("dtype").get<std::string>();
  const auto row = std::find_if(kDtypes.begin(), kDtypes.end(),
                                [&](const DtypeRow& r) { return r.name == dtype; });
  if (row == kDtypes.end()) throw fail(fmt::format("unsupported dtype '{}'", dtype));
  TensorView view;
  view.dtype = row->dtype;
  view.shape = entry.at("shape").get<std::vector<int64_t>>();
  const auto offsets = entry.at("data_offsets").get<std::vector<uint64_t>>();
  const int64_t count = element_count(view.shape);
  if (count < 0) throw fail("bad shape");
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > payload_bytes) {
    throw fail(fmt::format(
        "data offsets lie outside the file's {} data bytes: the file is truncated or damaged",
        payload_bytes));
  }
  view.bytes = offsets[1] - offsets[0];
  if (static_cast<uint64_t>(count) > std::numeric_limits<uint64_t>::max() / row->size ||
      view.bytes != static_cast<uint64_t>(count) * row->size) {
    throw fail(fmt::format("{} bytes do not hold shape [{}] of {}", view.bytes,
                           fmt::join(view.shape, ", "), dtype));
  }
  view.data = payload + offsets[0];
  return view;
}

// Throws InputError if two tensors share a byte.
void check_overlaps(const std::map<std::string, TensorView>& tensors, const std::string& file) {
  std::vector<std::pair<const std::byte*, const std::string*>> starts;
  for (const auto& [name, view] : tensors) {
    if (view.bytes > 0) starts.emplace_back(view.data, &name);
  }
  std::sort(starts.begin(), starts.end());
  for (size_t index = 1; index < starts.size(); ++index) {
    const auto& [begin, name] = starts[index - 1];
    if (begin + tensors.at(*name).bytes <= starts[index].first) continue;
    throw InputError(file, 0,
                     fmt::format("tensors '{}' and '{}' overlap: the header is damaged", *name,
                                 *starts[index].second));
  }
}

}  // namespace

size_t dtype_size(Dtype dtype) {
  return row_of(dtype).size;
}

std::string_view dtype_name(Dtype dtype) {
  return row_of(dtype).name;
}

int64_t TensorView::elements() const {
  return element_count(shape);
}

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path, Check check)
    : path_(path), file_(path) {
  const std::string name = path.string();
  uint64_t header_bytes = 0;
  if (file_.size() < sizeof(header_bytes))
    throw InputError(name, 0, "too short to be a safetensors file");
  std::memcpy(&header_bytes, file_.data(), sizeof(header_bytes));
  if (header_bytes > kLargestHeader || header_bytes > file_.size() - sizeof(header_bytes)) {
    throw InputError(
        name, 0,
        fmt::format("header length {} does not fit a file of {} bytes: not a safetensors file, "
                    "or truncated",
                    header_bytes, file_.size()));
  }
  try {
    const Json header = Json::parse(file_.text().substr(sizeof(header_bytes), header_bytes));
    const std::byte* payload = file_.data() + sizeof(header_bytes) + header_bytes;
    const size_t payload_bytes = file_.size() - sizeof(header_bytes) - header_bytes;
    for (const auto& [key, entry] : header.items()) {
      if (key == "__metadata__") {
        metadata_ = entry.get<std::map<std::string, std::string>>();
      } else {
        tensors_.emplace(key, parse_tensor(key, entry, payload, payload_bytes, name));
      }
    }
    check_overlaps(tensors_, name);
  } catch (const Json::exception& error) {
    throw InputError(name, 0, fmt::format("damaged safetensors header: {}", error.what()));
  }
  if (check == Check::kChecksums) verify_checksums();
}

// Tensors are handed out to the threads one by one.
void SafetensorsReader::verify_checksums() const {
  std::vector<const std::pair<const std::string, TensorView>*> entries;
  for (const auto& entry : tensors_)
    if (metadata_.contains(std::string(kChecksumPrefix) + entry.first)) entries.push_back(&entry);
  parallel_chunks(static_cast<int64_t>(entries.size()), 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t index = begin; index < end; ++index) {
      const auto& [name, view] = *entries[static_cast<size_t>(index)];
      if (hash_hex(view.data, view.bytes) == metadata_.at(std::string(kChecksumPrefix) + name))
        continue;
      throw InputError(path_.string(), 0,
                       fmt::format("tensor '{}' does not match its checksum: the file is damaged; "
                                   "delete it and run the stage again",
                                   name));
    }
  });
}

const std::string& SafetensorsReader::metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end())
    throw InputError(path_.string(), 0, fmt::format("metadata '{}' is missing", key));
  return found->second;
}

const TensorView& SafetensorsReader::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw InputError(path_.string(), 0, fmt::format("tensor '{}' is missing", name));
  return found->second;
}

const TensorView& SafetensorsReader::checked(const std::string& name, Dtype dtype,
                                             const std::vector<int64_t>& shape) const {
  const TensorView& view = tensor(name);
  if (view.dtype != dtype) {
    throw InputError(path_.string(), 0,
                     fmt::format("tensor '{}' is {}, expected {}", name, dtype_name(view.dtype),
                                 dtype_name(dtype)));
  }
  if (reinterpret_cast<uintptr_t>(view.data) % dtype_size(dtype) != 0) {
    throw InputError(path_.string(), 0,
                     fmt::format("tensor '{}' does not start at a multiple of its {}-byte elements",
                                 name, dtype_size(dtype)));
  }
  bool fits = shape.empty() || shape.size() == view.shape.size();
  for (size_t axis = 0; fits && axis < shape.size(); ++axis) {
    fits = shape[axis] < 0 || shape[axis] == view.shape[axis];
  }
  if (!fits) {
    throw InputError(path_.string(), 0,
                     fmt::format("tensor '{}' has shape [{}], expected [{}]", name,
                                 fmt::join(view.shape, ", "), fmt::join(shape, ", ")));
  }
  return view;
}

void SafetensorsWriter::set_metadata(const std::string& key, std::string value) {
  metadata_[key] = std::move(value);
}

void SafetensorsWriter::check_size(const std::string& name, const std::vector<int64_t>& shape,
                                   size_t count) {
  if (element_count(shape) != static_cast<int64_t>(count)) {
    throw std::logic_error(
        fmt::format("tensor '{}': {} values for shape [{}]", name, count, fmt::join(shape, ", ")));
  }
}

void SafetensorsWriter::add(const std::string& name, Dtype dtype, std::vector<int64_t> shape,
                            const void* data) {
  TensorView view{.dtype = dtype,
                  .shape = std::move(shape),
                  .data = static_cast<const std::byte*>(data),
                  .bytes = 0};
  view.bytes = static_cast<size_t>(view.elements()) * dtype_size(dtype);
  tensors_[name] = std::move(view);
}

void SafetensorsWriter::write(const std::filesystem::path& path) const {
  std::vector<const std::pair<const std::string, TensorView>*> ordered;
  for (const auto& entry : tensors_)
    ordered.push_back(&entry);
  // Tensors of whole cache lines first: they begin at one. The others begin at a multiple of their
  // elements' size.
  const auto place = [](const TensorView& view) {
    return std::pair(view.bytes % kAlignment != 0, -static_cast<int64_t>(dtype_size(view.dtype)));
  };
  std::stable_sort(ordered.begin(), ordered.end(), [&](const auto* a, const auto* b) {
    return place(a->second) < place(b->second);
  });
  Json header = Json::object();
  Json metadata = metadata_;
  uint64_t offset = 0;
  for (const auto* entry : ordered) {
    const auto& [name, view] = *entry;
    header[name] = {{"dtype", dtype_name(view.dtype)},
                    {"shape", view.shape},
                    {"data_offsets", {offset, offset + view.bytes}}};
    metadata[std::string(kChecksumPrefix) + name] = hash_hex(view.data, view.bytes);
    offset += view.bytes;
  }
  header["__metadata__"] = std::move(metadata);
  std::string text = header.dump();
  while ((sizeof(uint64_t) + text.size()) % kAlignment != 0)
    text += ' ';

  AtomicFile file(path);
  const uint64_t header_bytes = text.size();
  file.write(&header_bytes, sizeof(header_bytes));
  file.write(text);
  for (const auto* entry : ordered)
    file.write(entry->second.data, entry->second.bytes);
  file.commit();
}

StringColumn::StringColumn(const SafetensorsReader& reader, const std::string& name)
    : bytes_(reader.get<uint8_t>(name + ".bytes")),
      offsets_(reader.get<int64_t>(name + ".offsets")) {
  bool ordered = !offsets_.empty() && offsets_.front() == 0 &&
                 offsets_.back() == static_cast<int64_t>(bytes_.size());
  for (size_t index = 1; ordered && index < offsets_.size(); ++index)
    ordered = offsets_[index - 1] <= offsets_[index];
  if (!ordered)
    throw InputError(reader.path().string(), 0,
                     fmt::format("column '{}': offsets are damaged", name));
}

std::string_view StringColumn::operator[](int64_t index) const {
  const auto begin = static_cast<size_t>(offsets_[static_cast<size_t>(index)]);
  const auto end = static_cast<size_t>(offsets_[static_cast<size_t>(index) + 1]);
  return {reinterpret_cast<const char*>(bytes_.data()) + begin, end - begin};
}

void StringColumnBuilder::push_back(std::string_view text) {
  bytes_.insert(bytes_.end(), text.begin(), text.end());
  offsets_.push_back(static_cast<int64_t>(bytes_.size()));
}

std::string_view StringColumnBuilder::operator[](int64_t index) const {
  const auto begin = static_cast<size_t>(offsets_[static_cast<size_t>(index)]);
  const auto end = static_cast<size_t>(offsets_[static_cast<size_t>(index) + 1]);
  return {reinterpret_cast<const char*>(bytes_.data()) + begin, end - begin};
}

void StringColumnBuilder::add_to(SafetensorsWriter& writer, const std::string& name) const {
  writer.add<uint8_t>(name + ".bytes", bytes_);
  writer.add<int64_t>(name + ".offsets", offsets_);
}

}  // namespace llmcf
