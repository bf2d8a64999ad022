// TensorBoard event files: scalars only. No protobuf library: an Event is a handful of fields.
//
// Format (TFRecord): u64 length, u32 masked CRC-32C of the length, `length` bytes, u32 masked
// CRC-32C of the bytes; all little-endian. The bytes are a tensorflow.Event: 1 wall_time (double),
// 2 step (int64), 3 file_version (string, first record only), 5 summary {1 value {1 tag (string), 2
// simple_value (float)}}.
//
// Records are appended and flushed one by one, so that TensorBoard can follow a run; a torn last
// record (after a kill) is cut off when the file is opened again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace llmcf::train {

// CRC-32C (Castagnoli) of the bytes.
uint32_t crc32c(std::string_view bytes);

class EventFile {
 public:
  // keep_step < 0: begins anew. Otherwise continues the file after its last whole record whose step
  // is at most keep_step, if it exists. wall_time: Unix seconds, of the first record of a new file.
  EventFile(std::filesystem::path path, double wall_time, int64_t keep_step = -1);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  // wall_time: Unix seconds. Throws Error if the file cannot be written.
  void scalar(std::string_view tag, int64_t step, float value, double wall_time);

 private:
  void append(const std::string& record);

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace llmcf::train
