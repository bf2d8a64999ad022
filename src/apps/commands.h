// The program's sub-commands: one file and one function each. add_x() declares the command's
// options on `app` and sets its callback; errors leave the callback as exceptions and are reported
// once, in main.
#pragma once

#include <memory>

#include <CLI/CLI.hpp>

#include "pipeline/run_config.h"
#include "pipeline/workspace.h"

namespace llmcf::llm {
struct EngineOptions;
}

namespace llmcf::apps {

void add_run(CLI::App& app);
void add_stages(CLI::App& app);  // one per stage
void add_analyse(CLI::App& app);
void add_annotate(CLI::App& app);
void add_sample(CLI::App& app);
void add_pool(CLI::App& app);
void add_erase(CLI::App& app);
void add_doctor(CLI::App& app);
void add_experiment(CLI::App& app);  // and tune
void add_drift(CLI::App& app);
void add_llm(CLI::App& app);        // tune, generate, data, eval, merge, interpolate
void add_llm_new(CLI::App& llm);    // adds corpus, vocabulary, new and convert to it
void add_llm_study(CLI::App& llm);  // adds `study` to it
using AddEngineOptions = void (*)(CLI::App&, llm::EngineOptions&);
void add_llm_serve(CLI::App& llm, AddEngineOptions add_engine_options);  // adds `serve` to it
void add_llm_judge(CLI::App& llm, AddEngineOptions add_engine_options);  // mmlu and perplexity
void add_batch(CLI::App& app);                                           // score and recommend
void add_publish(CLI::App& app);
void add_serve(CLI::App& app);

// Thrown by a command that did its work and ends with this status.
struct ExitStatus {
  int value = 0;
};

// Shared by the commands that read a configuration.
struct ConfigOptions {
  std::string file;
  std::string workspace;               // empty = the configuration's
  std::vector<std::string> overrides;  // "train.epochs=3"
};
void add_config_options(CLI::App& command, ConfigOptions& options);
// The configuration they name, overrides and workspace applied.
pipeline::RunConfig load_config(const ConfigOptions& options);
// The configuration's workspace, locked. Throws Error if there is none: nothing is created.
std::unique_ptr<pipeline::Workspace> open_workspace(const pipeline::RunConfig& config);

}  // namespace llmcf::apps
