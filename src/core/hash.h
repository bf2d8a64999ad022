// Content hashes. XXH3 of 128 bits, written as 32 lower-case hexadecimal digits: for finding change
// and damage, not for security.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace llmcf {

// Feeds on bytes in any number of pieces; the same bytes give the same digest however they are cut.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void add(const void* data, size_t size);
  // Adds length and text, so that ("ab", "c") and ("a", "bc") differ.
  void add_field(std::string_view text);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string hash_hex(const void* data, size_t size);
std::string hash_hex(std::string_view text);

// Throws Error if the file cannot be read.
std::string hash_file(const std::filesystem::path& path);

}  // namespace llmcf
