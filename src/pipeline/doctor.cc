#include "pipeline/doctor.h"

#include <algorithm>
#include <functional>

#include <cblas.h>
#include <curl/curl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hwy/targets.h>
#include <nlohmann/json.hpp>
#include <sqlite3.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/safetensors.h"
#include "core/strings.h"
#include "core/threads.h"
#include "nn/runtime.h"
#include "pipeline/version.h"

namespace llmcf::pipeline {

namespace {

Finding examine_blas() {
  const int parallel = openblas_get_parallel();  // 0 sequential, 1 pthreads, 2 OpenMP
  const std::string found =
      fmt::format("{} ({}, {})", openblas_get_config(), openblas_get_corename(),
                  parallel == 2   ? "OpenMP"
                  : parallel == 1 ? "pthreads"
                                  : "sequential");
  if (parallel == 2) return {Health::kGood, "BLAS", found};
  return {Health::kWarning, "BLAS",
          found + "; libtorch's threads are OpenMP's: install libopenblas0-openmp to share them"};
}

Finding examine_simd() {
  std::vector<std::string> names;
  const int64_t targets = hwy::SupportedTargets();
  for (int bit = 0; bit < 62; ++bit) {  // Highway numbers better targets lower
    const int64_t target = int64_t{1} << bit;
    if ((targets & target) != 0) names.emplace_back(hwy::TargetName(target));
  }
  return {Health::kGood, "SIMD", fmt::format("best first: {}", fmt::join(names, ", "))};
}

Finding examine_memory() {
  struct sysinfo info {};
  sysinfo(&info);
  const double total = static_cast<double>(info.totalram) * info.mem_unit;
  const double free = static_cast<double>(info.freeram + info.bufferram) * info.mem_unit;
  return {total < 2.0 * 1024 * 1024 * 1024 ? Health::kWarning : Health::kGood, "memory",
          fmt::format("{} installed, {} free", human_bytes(total), human_bytes(free))};
}

Finding examine_disk(const std::filesystem::path& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0)
    return {Health::kWarning, "disk", "cannot tell free space"};
  const double free = static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize);
  return {
      free < 1024.0 * 1024 * 1024 ? Health::kWarning : Health::kGood, "disk",
      fmt::format("{} free at {}", human_bytes(free), std::filesystem::absolute(path).string())};
}

Finding examine_safetensors(const std::filesystem::path& file, const std::string& name) {
  try {
    const SafetensorsReader reader(file);
    return {Health::kGood, name,
            fmt::format("{} tensors, {}, checksums match", reader.tensors().size(),
                        human_bytes(static_cast<double>(std::filesystem::file_size(file))))};
  } catch (const Error& error) {
    return {Health::kBad, name, error.what()};
  }
}

Finding examine_database(const std::filesystem::path& file, const std::string& name) {
  sqlite3* database = nullptr;
  std::string verdict = "cannot open";
  if (sqlite3_open_v2(file.c_str(), &database, SQLITE_OPEN_READONLY, nullptr) == SQLITE_OK) {
    const auto keep_first = [](void* out, int, char** values, char**) {
      *static_cast<std::string*>(out) = values[0] != nullptr ? values[0] : "";
      return 0;
    };
    char* message = nullptr;
    if (sqlite3_exec(database, "PRAGMA quick_check(1)", keep_first, &verdict, &message) !=
        SQLITE_OK) {
      verdict = message != nullptr ? message : "check failed";
    }
    sqlite3_free(message);
  }
  sqlite3_close(database);
  if (verdict == "ok") return {Health::kGood, name, "integrity check passed"};
  return {Health::kBad, name,
          verdict + "; restore it from an export, or delete it and run the reason stage again"};
}

Finding examine_record(const std::filesystem::path& root, const std::filesystem::path& file,
                       const std::string& name) {
  const auto record = nlohmann::json::parse(read_file(file), nullptr, false);
  if (!record.is_object() || !record.contains("outputs")) {
    return {Health::kWarning, name, "damaged record; its stage will run again"};
  }
  for (const auto& [output, recorded] : record.at("outputs").items()) {
    const std::filesystem::path path = root / output;
    if (!std::filesystem::exists(path))
      return {Health::kWarning, name, output + " is missing; its stage will run again"};
    if (hash_file(path) != recorded.value("hash", "")) {
      return {Health::kWarning, name,
              output + " was changed after its stage; the stage will run again"};
    }
  }
  return {Health::kGood, name, "outputs are as recorded"};
}

}  // namespace

std::vector<Finding> examine_installation() {
  const nn::RuntimeInfo torch = nn::runtime_info();
  std::vector<Finding> findings = {
      {Health::kGood, "llmcf", std::string(kVersion)},
      {Health::kGood, "libtorch",
       fmt::format("{}, {}, {}", torch.torch_version, torch.cpu_capability,
                   torch.cuda ? "CUDA found" : "CPU only")},
      examine_blas(),
      examine_simd(),
      {Health::kGood, "threads",
       fmt::format("{} for llmcf, {} for libtorch", thread_count(), torch.threads)},
      {Health::kGood, "SQLite", sqlite3_libversion()},
      {Health::kGood, "libcurl", curl_version()},
      examine_memory(),
      examine_disk(std::filesystem::current_path()),
  };
  if (sqlite3_threadsafe() == 0) {
    findings.push_back(
        {Health::kBad, "SQLite", "built without threads; install the distribution's package"});
  }
  return findings;
}

std::vector<Finding> examine_workspace(const std::filesystem::path& root) {
  if (!std::filesystem::is_directory(root)) {
    return {{Health::kWarning, root.string(), "no workspace here yet; `llmcf run` makes it"}};
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Finding> findings;
  for (const auto& file : files) {
    const std::string name = std::filesystem::relative(file, root).string();
    if (name.find(".tmp.") != std::string::npos) {
      findings.push_back(
          {Health::kWarning, name, "left by a process that was killed; safe to delete"});
    } else if (file.extension() == ".safetensors") {
      findings.push_back(examine_safetensors(file, name));
    } else if (file.extension() == ".sqlite") {
      findings.push_back(examine_database(file, name));
    } else if (file.parent_path() == root / "state") {
      findings.push_back(examine_record(root, file, name));
    }
  }
  if (findings.empty()) findings.push_back({Health::kGood, root.string(), "empty workspace"});
  return findings;
}

}  // namespace llmcf::pipeline
