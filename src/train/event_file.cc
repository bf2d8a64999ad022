// TFRecord framing and the few protobuf bytes that an Event needs. See event_file.h.
#include "train/event_file.h"

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::train {

namespace {

constexpr size_t kHeaderBytes = 12;  // length and its checksum
constexpr size_t kTrailerBytes = 4;  // checksum of the data

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit)
      value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78U : 0U);
    table[byte] = value;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kCrcTable = make_crc_table();

// TFRecord stores checksums rotated and offset, so that a checksum of data with checksums inside
// stays strong.
uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8U;
}

template <typename T>
void put_fixed(std::string& out, T value) {
  static_assert(std::endian::native == std::endian::little);
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
T get_fixed(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

// Protobuf base-128 variable-length integer.
void put_varint(std::string& out, uint64_t value) {
  for (; value >= 128; value >>= 7)
    out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}

// Protobuf wire types.
enum class Wire : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void put_tag(std::string& out, uint64_t field, Wire wire) {
  put_varint(out, field << 3 | static_cast<uint64_t>(wire));
}

void put_bytes(std::string& out, uint64_t field, std::string_view bytes) {
  put_tag(out, field, Wire::kBytes);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string event_head(double wall_time, int64_t step) {
  std::string event;
  put_tag(event, 1, Wire::kFixed64);
  put_fixed(event, wall_time);
  put_tag(event, 2, Wire::kVarint);
  put_varint(event, static_cast<uint64_t>(step));
  return event;
}

std::string framed(std::string_view data) {
  std::string record;
  put_fixed(record, static_cast<uint64_t>(data.size()));
  put_fixed(record, masked_crc(record));
  record += data;
  put_fixed(record, masked_crc(data));
  return record;
}

// The step of an event that event_head() began.
int64_t step_of(std::string_view event) {
  constexpr size_t kStepAt = 1 + sizeof(double) + 1;
  uint64_t step = 0;
  for (size_t at = kStepAt, shift = 0; at < event.size() && shift < 64; ++at, shift += 7) {
    const auto byte = static_cast<uint8_t>(event[at]);
    step |= static_cast<uint64_t>(byte & 127) << shift;
    if (byte < 128) break;
  }
  return static_cast<int64_t>(step);
}

// The data of the whole and undamaged record at the start of `bytes`.
std::optional<std::string_view> whole_record(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes + kTrailerBytes) return std::nullopt;
  const auto length = get_fixed<uint64_t>(bytes);
  if (get_fixed<uint32_t>(bytes.substr(8)) != masked_crc(bytes.substr(0, 8))) return std::nullopt;
  if (length > bytes.size() - kHeaderBytes - kTrailerBytes) return std::nullopt;
  const std::string_view data = bytes.substr(kHeaderBytes, length);
  if (get_fixed<uint32_t>(bytes.substr(kHeaderBytes + length)) != masked_crc(data))
    return std::nullopt;
  return data;
}

// Bytes up to the first record that is torn or belongs to a step after `keep_step`.
size_t kept_bytes(std::string_view bytes, int64_t keep_step) {
  size_t kept = 0;
  while (const auto data = whole_record(bytes.substr(kept))) {
    if (step_of(*data) > keep_step) break;
    kept += kHeaderBytes + data->size() + kTrailerBytes;
  }
  return kept;
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0U;
  for (const char byte : bytes)
    crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 255];
  return ~crc;
}

EventFile::EventFile(std::filesystem::path path, double wall_time, int64_t keep_step)
    : path_(std::move(path)) {
  std::filesystem::create_directories(path_.parent_path());
  size_t kept = 0;
  if (keep_step >= 0 && std::filesystem::exists(path_))
    kept = kept_bytes(read_file(path_), keep_step);
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0 || ::ftruncate(descriptor_, static_cast<off_t>(kept)) != 0)
    throw Error(fmt::format("{}: {}", path_.string(), std::strerror(errno)));
  if (kept > 0) return;
  std::string event = event_head(wall_time, 0);
  put_bytes(event, 3, "brain.Event:2");
  append(framed(event));
}

EventFile::~EventFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void EventFile::scalar(std::string_view tag, int64_t step, float value, double wall_time) {
  std::string entry;
  put_bytes(entry, 1, tag);
  put_tag(entry, 2, Wire::kFixed32);
  put_fixed(entry, value);
  std::string summary;
  put_bytes(summary, 1, entry);
  std::string event = event_head(wall_time, step);
  put_bytes(event, 5, summary);
  append(framed(event));
}

void EventFile::append(const std::string& record) {
  const ssize_t written = ::write(descriptor_, record.data(), record.size());
  if (written != static_cast<ssize_t>(record.size()))
    throw Error(
        fmt::format("{}: {}", path_.string(), written < 0 ? std::strerror(errno) : "disk full"));
}

}  // namespace llmcf::train
