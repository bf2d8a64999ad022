// llmcf llm: language models of one's own. Tuning, generation, adapters, weights between two
// models.
#include <iostream>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "core/strings.h"
#include "core/threads.h"
#include "llm/engine.h"
#include "llm/model_directory.h"
#include "llm/tuning_run.h"
#include "nn/runtime.h"
#include "pipeline/language_judge.h"

namespace llmcf::apps {

namespace {

void add_tune(CLI::App& parent) {
  auto file = std::make_shared<std::string>();
  auto overrides = std::make_shared<std::vector<std::string>>();
  auto* command = parent.add_subcommand("tune", "tune a model on instructions, whole or by LoRA");
  command->add_option("config", *file, "what to tune on what (YAML)")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--set", *overrides, "replace a value of the file, e.g. --set tune.epochs=3");
  command->callback([file, overrides] {
    nn::set_threads(thread_count());
    Config config = Config::load(*file);
    pipeline::apply_overrides(config, *overrides);
    const llm::TuningReport report = llm::run_tuning(config);
    fmt::print("{} steps on {} conversations: loss {:.4f} to {:.4f}\n", report.steps,
               report.conversations, report.first_loss, report.last_loss);
    if (report.valid_before > 0)
      fmt::print("held-out loss {:.4f} to {:.4f}\n", report.valid_before, report.valid_after);
    fmt::print("{}\n", report.out.lexically_normal().string());
  });
}

struct GenerateArguments {
  llm::EngineOptions engine;
  llm::GenerationRequest request;
  std::string prompt, file, system;
  bool raw = false;
  int64_t samples = 1;
};

void add_engine_options(CLI::App& command, llm::EngineOptions& engine) {
  command.add_option("--model", engine.model, "a model directory in the Hugging Face layout")
      ->required()
      ->check(CLI::ExistingDirectory);
  command.add_option("--adapter", engine.adapter, "a LoRA adapter in PEFT's layout")
      ->check(CLI::ExistingDirectory);
  command.add_option("--device", engine.device, "auto, cpu, cuda, cuda:1, ...");
  command.add_option("--dtype", engine.dtype, "auto, float32, bfloat16, float16");
  command.add_option("--chat", engine.chat, "auto, llama2, llama3, chatml, plain");
  command.add_option("--slots", engine.slots, "generations at once")->check(CLI::Range(1, 4096));
  command.add_option("--capacity", engine.capacity, "tokens of a prompt and its answer; 0 = auto");
}

void print_line(const std::string& prompt, const llm::Generation& generation) {
  fmt::print("{}\n", nlohmann::ordered_json{{"prompt", prompt},
                                            {"answer", trim(generation.text)},
                                            {"finish_reason", finish_name(generation.finish)},
                                            {"tokens", generation.ids.size()}}
                         .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void generate(GenerateArguments& arguments) {
  nn::set_threads(thread_count());
  if (arguments.prompt.empty() == arguments.file.empty())
    throw Error("give --prompt TEXT or --prompts FILE");
  const bool beams = arguments.request.beams > 1;
  if (beams) arguments.request.returned = arguments.samples;
  const int64_t asked = beams ? 1 : arguments.samples;  // generations per prompt
  llm::Engine engine(arguments.engine);
  const auto ask = [&](std::string_view text, int64_t sample, llm::Engine::OnText on_text = {}) {
    llm::GenerationRequest one = arguments.request;
    one.sample = sample;
    one.prompt = arguments.raw ? engine.raw_prompt(text)
                               : engine.prompt(llm::question(arguments.system, std::string(text)));
    return engine.generate(std::move(one), std::move(on_text));
  };
  if (!arguments.prompt.empty()) {
    for (int64_t sample = 0; sample < asked; ++sample) {
      const auto print = [](std::string_view piece) {
        std::cout << piece << std::flush;
        return true;
      };
      const llm::Generation answer = ask(arguments.prompt, sample, print).get();
      std::cout << std::endl;
      for (const llm::Generation& other : answer.others)
        std::cout << other.text << std::endl;
    }
    return;
  }
  const std::string content = read_file(arguments.file);
  std::vector<std::pair<std::string, std::future<llm::Generation>>> answers;
  for (const std::string_view line : split(content, '\n'))
    if (!trim(line).empty())
      for (int64_t sample = 0; sample < asked; ++sample)
        answers.emplace_back(line, ask(line, sample));
  for (auto& [text, answer] : answers) {
    const llm::Generation generation = answer.get();
    print_line(text, generation);
    for (const llm::Generation& other : generation.others)
      print_line(text, other);
  }
}

void add_generate(CLI::App& parent) {
  auto arguments = std::make_shared<GenerateArguments>();
  auto* command = parent.add_subcommand("generate", "answer prompts");
  add_engine_options(*command, arguments->engine);
  auto& request = arguments->request;
  auto* prompt =
      command->add_option("--prompt", arguments->prompt, "one prompt; its answer streams");
  command
      ->add_option("--prompts", arguments->file,
                   "a file with one prompt a line; answers are JSON lines")
      ->check(CLI::ExistingFile)
      ->excludes(prompt);
  command->add_option("--system", arguments->system, "what stands before every prompt");
  command->add_flag("--raw", arguments->raw,
                    "prompts are continued as they are, without a template");
  command->add_option("--samples", arguments->samples, "answers per prompt")
      ->check(CLI::Range(1, 1000));
  command->add_option("--max-tokens", request.max_tokens, "tokens of an answer at most");
  command->add_option("--temperature", request.sampling.temperature, "0 = the most likely token");
  command->add_option("--top-k", request.sampling.top_k, "only the k most likely tokens; 0 = all");
  command->add_option("--top-p", request.sampling.top_p, "only the fewest tokens that sum to p");
  command->add_option("--repetition-penalty", request.sampling.repetition_penalty, "1 = none");
  command->add_option("--stop", request.stop, "the answer ends before this text; may be repeated");
  command->add_option("--seed", request.seed, "of all draws");
  command->add_option("--beams", request.beams, "beam search; --samples are its best results")
      ->check(CLI::PositiveNumber);
  command->callback([arguments] { generate(*arguments); });
}

void add_data(CLI::App& parent) {
  struct Arguments {
    ConfigOptions config;
    pipeline::JudgedRows what;
    std::filesystem::path out;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command =
      parent.add_subcommand("data", "write Yes/No recommendation instructions from a data set");
  add_config_options(*command, arguments->config);
  command->add_option("--split", arguments->what.split, "train, valid or test");
  command->add_option("--rows", arguments->what.rows, "rows of it; 0 = all")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", arguments->what.seed, "of the sample");
  command->add_option("--out", arguments->out, "Alpaca JSON to write")->required();
  command->callback([arguments] {
    fmt::print("{} instructions: {}\n",
               pipeline::write_instructions(load_config(arguments->config), arguments->what,
                                            arguments->out),
               arguments->out.string());
  });
}

void add_eval(CLI::App& parent) {
  struct Arguments {
    ConfigOptions config;
    pipeline::JudgedRows what{.split = "test", .rows = 5000};
    llm::EngineOptions engine;
    std::filesystem::path out;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command = parent.add_subcommand("eval", "how well a model's Yes and No rank a run's rows");
  add_config_options(*command, arguments->config);
  add_engine_options(*command, arguments->engine);
  command->add_option("--split", arguments->what.split, "train, valid or test (default test)");
  command->add_option("--rows", arguments->what.rows, "rows of it (default 5000); 0 = all")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--seed", arguments->what.seed, "of the sample");
  command->add_option("--out", arguments->out, "JSON to write");
  command->callback([arguments] {
    nn::set_threads(thread_count());
    llm::Engine engine(arguments->engine);
    const pipeline::JudgeReport report =
        pipeline::judge_rows(load_config(arguments->config), arguments->what, engine);
    fmt::print("{}, {} rows of {}: AUC {:.4f}, LogLoss {:.4f}; P(Yes) + P(No) {:.3f} on average\n",
               engine.name(), report.rows, arguments->what.split, report.auc, report.log_loss,
               report.yes_and_no);
    if (report.too_long > 0)
      fmt::print("{} rows left out: their question does not fit {} tokens\n", report.too_long,
                 engine.capacity());
    if (arguments->out.empty()) return;
    const nlohmann::ordered_json json = {
        {"model", engine.name()},
        {"identity", llm::model_identity(arguments->engine)},
        {"split", arguments->what.split},
        {"seed", arguments->what.seed},
        {"rows", report.rows},
        {"too_long", report.too_long},
        {"auc", report.auc},
        {"log_loss", report.log_loss},
        {"yes_and_no", report.yes_and_no},
        {"double_softmax_log_loss", report.double_softmax_log_loss}};
    write_file(arguments->out, json.dump(2) + "\n");
  });
}

void add_weights(CLI::App& parent) {
  struct Arguments {
    std::filesystem::path a, b, out;
    double alpha = 0.5;
  };
  auto between = std::make_shared<Arguments>();
  auto* interpolate =
      parent.add_subcommand("interpolate", "Wise-FT: weights between a model and its tuned one");
  interpolate->add_option("--from", between->a, "the model before tuning")
      ->required()
      ->check(CLI::ExistingDirectory);
  interpolate->add_option("--to", between->b, "the tuned one")
      ->required()
      ->check(CLI::ExistingDirectory);
  interpolate->add_option("--alpha", between->alpha, "0 = the first, 1 = the second")
      ->required()
      ->check(CLI::Range(0.0, 1.0));
  interpolate->add_option("--out", between->out, "directory to write")->required();
  interpolate->callback([between] {
    llm::interpolate(between->a, between->b, between->alpha, between->out);
    fmt::print("{}\n", between->out.string());
  });

  auto merged = std::make_shared<Arguments>();
  auto* merge = parent.add_subcommand("merge", "a model with a LoRA adapter added to its weights");
  merge->add_option("--model", merged->a, "the model")->required()->check(CLI::ExistingDirectory);
  merge->add_option("--adapter", merged->b, "the adapter")
      ->required()
      ->check(CLI::ExistingDirectory);
  merge->add_option("--out", merged->out, "directory to write")->required();
  merge->callback([merged] {
    llm::merge(merged->a, merged->b, merged->out);
    fmt::print("{}\n", merged->out.string());
  });
}

}  // namespace

void add_llm(CLI::App& app) {
  auto* command = app.add_subcommand("llm", "language models: tune, ask, judge, merge");
  command->require_subcommand(1);
  add_tune(*command);
  add_generate(*command);
  add_data(*command);
  add_eval(*command);
  add_weights(*command);
  add_llm_new(*command);
  add_llm_serve(*command, add_engine_options);
  add_llm_judge(*command, add_engine_options);
}

}  // namespace llmcf::apps
