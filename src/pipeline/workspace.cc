#include "pipeline/workspace.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/strings.h"

namespace llmcf::pipeline {

namespace {

constexpr const char* kErasedFile = "erased.txt";

// Temporary files of processes that were killed. REQUIRES: the lock is held, so none is in use.
void remove_leftovers(const std::filesystem::path& root) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name.find(".tmp.") != std::string::npos) {
      found.push_back(entry.path());
    }
  }
  for (const auto& path : found) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
}

}  // namespace

Workspace::Workspace(std::filesystem::path root, Access access) : root_(std::move(root)) {
  std::error_code error;
  std::filesystem::create_directories(root_, error);
  const std::filesystem::path lock_path = root_ / ".lock";
  lock_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0) {
    throw Error(
        fmt::format("{}: cannot use this workspace: {}", root_.string(), std::strerror(errno)));
  }
  if (::flock(lock_, (access == Access::kAlone ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    ::close(lock_);
    throw Error(fmt::format(
        "{}: another llmcf process is working in this workspace; wait for it, or name another one "
        "with --workspace",
        root_.string()));
  }
  if (access == Access::kAlone) remove_leftovers(root_);
  if (std::filesystem::exists(root_ / kErasedFile)) {
    const std::string text = read_file(root_ / kErasedFile);
    for (const std::string_view line : split(text, '\n')) {
      if (!line.empty()) erased_.emplace(line);
    }
  }
}

Workspace::~Workspace() {
  if (lock_ >= 0) ::close(lock_);
}

std::filesystem::path Workspace::retrieval(std::string_view split) const {
  return root_ / "retrieval" / fmt::format("{}.safetensors", split);
}

std::filesystem::path Workspace::analysis(std::string_view split) const {
  return root_ / "analysis" / split;
}

std::filesystem::path run_directory(const std::filesystem::path& root, const std::string& variant,
                                    int64_t seed) {
  return root / "runs" / variant / fmt::format("seed-{}", seed);
}

std::string Workspace::digest_of(std::string_view user) {
  return hash_hex(fmt::format("erased user {}", user));
}

std::string Workspace::erased_digest() const {
  Hasher hasher;
  for (const std::string& digest : erased_)
    hasher.add_field(digest);
  return hasher.hex();
}

void Workspace::erase(std::string_view user) {
  erased_.insert(digest_of(user));
  std::string text;
  for (const std::string& digest : erased_)
    text += digest + "\n";
  write_file(root_ / kErasedFile, text);
  std::filesystem::remove_all(root_ / "data");
  std::filesystem::remove_all(root_ / "retrieval");
  std::filesystem::remove_all(root_ / "runs");
  std::filesystem::remove_all(root_ / "analysis");
  for (const auto& file : {examples(), knowledge(), teacher()})
    std::filesystem::remove(file);
  std::filesystem::remove(report());
  for (const char* extension : {"json", "md", "csv"})
    std::filesystem::remove(results(extension));
}

}  // namespace llmcf::pipeline
