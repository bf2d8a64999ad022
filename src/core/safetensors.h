// Safetensors files: 8 bytes of little-endian header length, a JSON header, raw little-endian
// tensors.
//
// Invariants:
//  1. A written file carries one XXH3-128 checksum per tensor in `__metadata__`, key
//  `xxh3.<tensor>`. The header is padded with spaces to a multiple of 64 bytes; tensors follow
//  without holes (other readers refuse holes), widest elements first, so that each starts at a
//  multiple of its element size.
//  2. Opening maps the file and validates the header (sizes, overlaps, overflow); `verify` also
//  checks the sums. A file of another writer has no checksums and is accepted without.
//  3. Views stay valid as long as the reader lives.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace llmcf {

enum class Dtype { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kU16, kU32, kU64, kBool };

size_t dtype_size(Dtype dtype);
std::string_view dtype_name(Dtype dtype);  // "F32", "I64", ... as in the file

template <typename T>
constexpr Dtype dtype_of() {
  if constexpr (std::is_same_v<T, double>)
    return Dtype::kF64;
  else if constexpr (std::is_same_v<T, float>)
    return Dtype::kF32;
  else if constexpr (std::is_same_v<T, int64_t>)
    return Dtype::kI64;
  else if constexpr (std::is_same_v<T, int32_t>)
    return Dtype::kI32;
  else if constexpr (std::is_same_v<T, int8_t>)
    return Dtype::kI8;
  else if constexpr (std::is_same_v<T, uint8_t>)
    return Dtype::kU8;
  else if constexpr (std::is_same_v<T, uint16_t>)
    return Dtype::kU16;
  else if constexpr (std::is_same_v<T, uint32_t>)
    return Dtype::kU32;
  else if constexpr (std::is_same_v<T, uint64_t>)
    return Dtype::kU64;
  else
    static_assert(!sizeof(T), "no safetensors dtype for this type");
}

struct TensorView {
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;
  size_t bytes = 0;

  int64_t elements() const;
};

class SafetensorsReader {
 public:
  enum class Check { kHeader, kChecksums };

  // Throws InputError naming the file and what is wrong with it.
  explicit SafetensorsReader(const std::filesystem::path& path, Check check = Check::kChecksums);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // The metadata value, or an Error naming the file and the key.
  const std::string& metadata(const std::string& key) const;
  // Sorted by name.
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  // Throws InputError naming file and tensor if it is missing.
  const TensorView& tensor(const std::string& name) const;

  // A typed view. Throws InputError if the tensor is missing, of another dtype, or (when given)
  // another shape; -1 in `shape` accepts any size.
  template <typename T>
  std::span<const T> get(const std::string& name, const std::vector<int64_t>& shape = {}) const {
    const TensorView& view = checked(name, dtype_of<T>(), shape);
    return {reinterpret_cast<const T*>(view.data), view.bytes / sizeof(T)};
  }

  // Compares every tensor with its recorded checksum.
  void verify_checksums() const;

 private:
  const TensorView& checked(const std::string& name, Dtype dtype,
                            const std::vector<int64_t>& shape) const;

  std::filesystem::path path_;
  MappedFile file_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, TensorView> tensors_;
};

// Collects views, then writes everything at once; the data must stay valid until write() returns.
class SafetensorsWriter {
 public:
  void set_metadata(const std::string& key, std::string value);
  void add(const std::string& name, Dtype dtype, std::vector<int64_t> shape, const void* data);
  template <typename T>
  void add(const std::string& name, std::vector<int64_t> shape, std::span<const T> values) {
    check_size(name, shape, values.size());
    add(name, dtype_of<T>(), std::move(shape), values.data());
  }
  template <typename T>
  void add(const std::string& name, const std::vector<T>& values) {
    add<T>(name, {static_cast<int64_t>(values.size())}, std::span<const T>(values));
  }
  // Atomic: the target is either the old file or the whole new one. Same content, same bytes.
  void write(const std::filesystem::path& path) const;

 private:
  static void check_size(const std::string& name, const std::vector<int64_t>& shape, size_t count);

  std::map<std::string, std::string> metadata_;
  std::map<std::string, TensorView> tensors_;
};

// A list of strings as two tensors, `<name>.bytes` (u8) and `<name>.offsets` (i64, count + 1).
class StringColumn {
 public:
  StringColumn() = default;
  StringColumn(const SafetensorsReader& reader, const std::string& name);  // views into `reader`

  int64_t size() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  std::string_view operator[](int64_t index) const;

 private:
  std::span<const uint8_t> bytes_;
  std::span<const int64_t> offsets_;
};

// Builds what StringColumn reads; must outlive SafetensorsWriter::write().
class StringColumnBuilder {
 public:
  void push_back(std::string_view text);
  int64_t size() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  std::string_view operator[](int64_t index) const;
  void add_to(SafetensorsWriter& writer, const std::string& name) const;

 private:
  std::vector<uint8_t> bytes_;
  std::vector<int64_t> offsets_ = {0};
};

}  // namespace llmcf
