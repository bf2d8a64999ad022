// A file's bytes in order, decompressed when its first bytes say gzip or zstd (the name is not
// looked at).
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>

#include "core/error.h"

namespace llmcf::data {

// The stored data ends too early or is damaged. The caller knows the line and adds the place.
class DamagedData : public Error {
 public:
  using Error::Error;
};

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills `out` as far as there is data; 0 only at the end. Throws DamagedData, or Error if the
  // system refuses to read.
  virtual size_t read(char* out, size_t size) = 0;
};

// Throws Error if the file cannot be opened.
std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path);

}  // namespace llmcf::data
