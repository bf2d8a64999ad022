// See checkpoint.h.
#include "train/checkpoint.h"

#include <nlohmann/json.hpp>

#include "core/log.h"
#include "core/safetensors.h"

namespace llmcf::train {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "llmcf-checkpoint-1";

void check_format(const SafetensorsReader& reader) {
  if (reader.metadata("format") != kFormat) {
    throw InputError(reader.path().string(), 0,
                     "is '" + reader.metadata("format") + "', expected '" + kFormat + "'");
  }
}

}  // namespace

void save_weights(models::Trainable& model, const std::filesystem::path& path) {
  SafetensorsWriter writer;
  writer.set_metadata("format", kFormat);
  model.add_state(writer);
  writer.write(path);
}

void load_weights(models::Trainable& model, const std::filesystem::path& path) {
  const SafetensorsReader reader(path);
  check_format(reader);
  model.load_state(reader);
}

void save_run(models::Trainable& model, const RunState& state, const std::string& fingerprint,
              const std::filesystem::path& path) {
  SafetensorsWriter writer;
  writer.set_metadata("format", kFormat);
  writer.set_metadata("fingerprint", fingerprint);
  writer.set_metadata("run", Json{{"epoch", state.epoch},
                                  {"steps", state.steps},
                                  {"best_epoch", state.best_epoch},
                                  {"lines", state.lines}}
                                 .dump());
  model.add_state(writer);
  model.add_optimizer_state(writer);
  writer.write(path);
}

std::optional<RunState> load_run(models::Trainable& model, const std::string& fingerprint,
                                 int64_t most_epochs, const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const SafetensorsReader reader(path);
  check_format(reader);
  if (reader.metadata("fingerprint") != fingerprint) {
    log::info("{} belongs to another configuration: training starts anew", path.string());
    return std::nullopt;
  }
  try {
    const Json run = Json::parse(reader.metadata("run"));
    RunState state{.epoch = run.at("epoch"),
                   .steps = run.at("steps"),
                   .best_epoch = run.at("best_epoch"),
                   .lines = run.at("lines")};
    if (state.epoch > most_epochs) return std::nullopt;
    model.load_state(reader);
    model.load_optimizer_state(reader);
    return state;
  } catch (const Json::exception& error) {
    throw InputError(path.string(), 0, std::string("damaged run state: ") + error.what());
  }
}

}  // namespace llmcf::train
