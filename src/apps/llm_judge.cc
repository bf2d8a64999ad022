// llmcf llm mmlu | perplexity: what a model knows besides recommending.
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "core/files.h"
#include "core/strings.h"
#include "core/threads.h"
#include "llm/perplexity.h"
#include "nn/runtime.h"
#include "pipeline/mmlu.h"

namespace llmcf::apps {

namespace {

void add_mmlu(CLI::App& parent, AddEngineOptions add_engine_options) {
  struct Arguments {
    llm::EngineOptions engine;
    pipeline::MmluOptions options;
    std::filesystem::path out;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command = parent.add_subcommand("mmlu", "multiple-choice questions by subject (MMLU)");
  add_engine_options(*command, arguments->engine);
  command->add_option("--data", arguments->options.data, "directory with dev/ and test/")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->add_option("--shots", arguments->options.shots, "examples before a question (5)")
      ->check(CLI::Range(0, 5));
  command->add_option("--limit", arguments->options.limit, "questions per subject; 0 = all")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--out", arguments->out, "JSON to write");
  command->callback([arguments] {
    nn::set_threads(thread_count());
    llm::Engine engine(arguments->engine);
    const pipeline::MmluReport report = pipeline::run_mmlu(arguments->options, engine);
    nlohmann::ordered_json json = {
        {"model", engine.name()},        {"shots", arguments->options.shots},
        {"accuracy", report.accuracy()}, {"mean_accuracy", report.mean_accuracy()},
        {"questions", report.questions}, {"too_long", report.too_long}};
    for (const pipeline::MmluSubject& subject : report.subjects) {
      fmt::print("{:<40} {:>6.3f} of {:>5}\n", subject.name, subject.accuracy(), subject.questions);
      json["subjects"][subject.name] = {{"accuracy", subject.accuracy()},
                                        {"questions", subject.questions}};
    }
    fmt::print("{:<40} {:>6.3f} of {:>5}; mean of the subjects {:.3f}\n", "all", report.accuracy(),
               report.questions, report.mean_accuracy());
    if (report.too_long > 0)
      fmt::print("{} questions left out: they do not fit {} tokens\n", report.too_long,
                 engine.capacity());
    if (!arguments->out.empty()) write_file(arguments->out, json.dump(2) + "\n");
  });
}

void add_perplexity(CLI::App& parent, AddEngineOptions add_engine_options) {
  struct Arguments {
    llm::EngineOptions engine;
    std::vector<std::filesystem::path> files;
    double share = 1;
    int64_t length = 1024;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command =
      parent.add_subcommand("perplexity", "how surprising answers are, given questions");
  add_engine_options(*command, arguments->engine);
  command->add_option("files", arguments->files, "what `llm tune` reads")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--share", arguments->share, "the last share of each file, e.g. 0.02")
      ->check(CLI::Range(1e-6, 1.0));
  command->add_option("--length", arguments->length, "tokens; what is longer is cut")
      ->check(CLI::Range(2, 1 << 20));
  command->callback([arguments] {
    nn::set_threads(thread_count());
    const llm::Perplexity result =
        llm::perplexity(arguments->engine, arguments->files, arguments->share, arguments->length);
    fmt::print("perplexity {:.3f} (loss {:.4f}) over {} tokens of {} conversations, {} cut\n",
               result.value, result.loss, with_commas(result.tokens),
               with_commas(result.conversations), with_commas(result.cut));
  });
}

}  // namespace

void add_llm_judge(CLI::App& llm, AddEngineOptions add_engine_options) {
  add_mmlu(llm, add_engine_options);
  add_perplexity(llm, add_engine_options);
}

}  // namespace llmcf::apps
