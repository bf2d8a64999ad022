#include "pipeline/stage_runner.h"

#include <chrono>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"

namespace llmcf::pipeline {

namespace {

using Json = nlohmann::json;

Json fingerprint_of(const std::filesystem::path& file) {
  return {{"bytes", std::filesystem::file_size(file)},
          {"modified", std::filesystem::last_write_time(file).time_since_epoch().count()},
          {"hash", hash_file(file)}};
}

// Whether the file still holds the recorded bytes; reads it only if its size or time changed.
bool matches(const std::filesystem::path& file, const Json& recorded) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(file, error);
  if (error || bytes != recorded.at("bytes").get<uint64_t>()) return false;
  if (std::filesystem::last_write_time(file).time_since_epoch().count() ==
      recorded.at("modified").get<int64_t>()) {
    return true;
  }
  return hash_file(file) == recorded.at("hash").get<std::string>();
}

std::string relative_name(const Workspace& workspace, const std::filesystem::path& file) {
  return std::filesystem::relative(file, workspace.root()).string();
}

// The record of a stage that finished, or nothing; a damaged record counts as none.
std::optional<Json> load_record(const Workspace& workspace, const std::string& stage) {
  const std::filesystem::path path = workspace.state(stage);
  if (!std::filesystem::exists(path)) return std::nullopt;
  Json record = Json::parse(read_file(path), nullptr, false);
  if (!record.is_object() || !record.contains("key") || !record.contains("digest"))
    return std::nullopt;
  return record;
}

bool record_is_current(const Workspace& workspace, const Stage& stage, const Json& record) {
  if (record.at("key") != stage.key) return false;
  for (const auto& output : stage.outputs) {
    const std::string name = relative_name(workspace, output);
    if (stage.digest) {
      if (!std::filesystem::exists(output)) return false;
    } else if (!record.at("outputs").contains(name) ||
               !matches(output, record.at("outputs").at(name))) {
      return false;
    }
  }
  return true;
}

Json make_record(const Workspace& workspace, const Stage& stage, double seconds) {
  Json outputs = Json::object();
  Hasher digest;
  if (stage.digest) {
    digest.add_field(stage.digest());
  } else {
    for (const auto& output : stage.outputs) {
      if (!std::filesystem::exists(output)) {
        throw Error(fmt::format("stage {}: output {} is missing", stage.name, output.string()));
      }
      const Json fingerprint = fingerprint_of(output);
      digest.add_field(fingerprint.at("hash").get<std::string>());
      outputs[relative_name(workspace, output)] = fingerprint;
    }
  }
  return {{"stage", stage.name},    {"key", stage.key},   {"outputs", outputs},
          {"digest", digest.hex()}, {"seconds", seconds}, {"peak_memory_mib", peak_memory_mib()}};
}

}  // namespace

double peak_memory_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

StageRunner::StageRunner(const Workspace& workspace, std::set<std::string> force)
    : workspace_(workspace), force_(std::move(force)) {}

bool StageRunner::is_current(const Stage& stage) const {
  if (force_.contains(stage.name) || force_.contains(stage.name.substr(0, stage.name.find('.'))))
    return false;
  const auto record = load_record(workspace_, stage.name);
  if (!record || !record_is_current(workspace_, stage, *record)) return false;
  // What is incomplete goes on in the run that owns the stage; others use what there is.
  return require_current_ || record->value("complete", true);
}

std::string StageRunner::run(const Stage& stage) {
  if (is_current(stage)) {
    const Json record = *load_record(workspace_, stage.name);
    reports_.push_back(
        {stage.name, true, record.value("seconds", 0.0), record.value("peak_memory_mib", 0.0)});
    log::info("{:<24} unchanged, skipped", stage.name);
    // A database may have been changed by its own commands since: what follows must see that.
    if (!stage.digest) return record.at("digest").get<std::string>();
    Hasher digest;
    digest.add_field(stage.digest());
    return digest.hex();
  }
  if (require_current_) {
    throw Error(
        fmt::format("stage {} of workspace {} is stale; something it reads has changed "
                    "since it was prepared. Start again.",
                    stage.name, workspace_.root().string()));
  }
  log::info("{:<24} started", stage.name);
  std::filesystem::remove(workspace_.state(stage.name));
  const auto start = std::chrono::steady_clock::now();
  stage.work();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Json record = make_record(workspace_, stage, seconds);
  record["complete"] = !stage.complete || stage.complete();
  write_file(workspace_.state(stage.name), record.dump(1) + "\n");
  if (!record["complete"].get<bool>())
    log::warn("{} is not complete; the next run goes on with it", stage.name);
  reports_.push_back({stage.name, false, seconds, record.at("peak_memory_mib").get<double>()});
  log::info("{:<24} done in {:.1f} s (peak memory {:.0f} MiB)", stage.name, seconds,
            peak_memory_mib());
  return record.at("digest").get<std::string>();
}

}  // namespace llmcf::pipeline
