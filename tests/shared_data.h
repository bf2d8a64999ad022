// Where the tests find recorded tensors and real data: LLMCF_SHARED, else ../shared beside the
// source tree; the recorded tensors: LLMCF_GOLDEN, else <shared>/golden. A test that needs what is
// not there skips itself and says so.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include <gtest/gtest.h>

namespace llmcf::testing {

inline std::filesystem::path shared_directory() {
  if (const char* named = std::getenv("LLMCF_SHARED"); named != nullptr && *named != '\0')
    return named;
  return std::filesystem::path(LLMCF_SOURCE_DIR) / ".." / "shared";
}

inline std::filesystem::path golden_directory() {
  if (const char* named = std::getenv("LLMCF_GOLDEN"); named != nullptr && *named != '\0')
    return named;
  return shared_directory() / "golden";
}

}  // namespace llmcf::testing

// Skips the running test unless `path` exists.
#define LLMCF_REQUIRE_PATH(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "not found: " << (path)
