// Content hashes through xxHash.
#include "core/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "core/files.h"

namespace llmcf {

struct Hasher::State {
  XXH3_state_t* xxh = XXH3_createState();
  State() { XXH3_128bits_reset(xxh); }
  ~State() { XXH3_freeState(xxh); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

namespace {

std::string to_hex(XXH128_hash_t digest) {
  return fmt::format("{:016x}{:016x}", digest.high64, digest.low64);
}

}  // namespace

Hasher::Hasher() : state_(std::make_unique<State>()) {}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::add(const void* data, size_t size) {
  XXH3_128bits_update(state_->xxh, data, size);
}

void Hasher::add_field(std::string_view text) {
  const uint64_t size = text.size();
  add(&size, sizeof(size));
  add(text.data(), text.size());
}

std::string Hasher::hex() const {
  return to_hex(XXH3_128bits_digest(state_->xxh));
}

std::string hash_hex(const void* data, size_t size) {
  return to_hex(XXH3_128bits(data, size));
}

std::string hash_hex(std::string_view text) {
  return hash_hex(text.data(), text.size());
}

std::string hash_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return hash_hex(file.data(), file.size());
}

}  // namespace llmcf
