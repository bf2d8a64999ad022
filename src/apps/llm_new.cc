// llmcf llm corpus | vocabulary | new | convert: a language model from nothing, step by step.
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/strings.h"
#include "cot/shop_corpus.h"
#include "llm/instructions.h"
#include "llm/new_model.h"
#include "nn/runtime.h"
#include "text/train_vocabulary.h"

namespace llmcf::apps {

namespace {

void add_corpus(CLI::App& parent) {
  struct Arguments {
    cot::CorpusOptions options;
    std::filesystem::path out;
  };
  auto arguments = std::make_shared<Arguments>();
  auto& options = arguments->options;
  auto* command = parent.add_subcommand(
      "corpus", "write texts about the sample shop's world: what RecGen-mini is made from");
  command->add_option("--out", arguments->out, "directory to write to")->required();
  command->add_option("--shops", options.shops, "shops to ask about")->capture_default_str();
  command->add_option("--chains", options.chains, "chains of thought per shop")
      ->capture_default_str();
  command->add_option("--verdicts", options.verdicts, "Yes or No per shop")->capture_default_str();
  command->add_option("--documents", options.documents, "documents of prose")
      ->capture_default_str();
  command->add_option("--questions", options.questions, "questions and exercises")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "of everything")->capture_default_str();
  command->callback([arguments] {
    const auto report = cot::write_shop_corpus(arguments->options, arguments->out);
    fmt::print("{} documents, {} questions, {} chains of thought, {} verdicts: {}\n",
               with_commas(report.documents), with_commas(report.questions),
               with_commas(report.chains), with_commas(report.verdicts), arguments->out.string());
  });
}

void add_vocabulary(CLI::App& parent) {
  struct Arguments {
    std::vector<std::string> files;
    int64_t size = 2048;
    std::filesystem::path out;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command = parent.add_subcommand(
      "vocabulary", "train a SentencePiece vocabulary on instruction files and plain texts");
  command->add_option("files", arguments->files, "what `llm tune` reads")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--size", arguments->size, "pieces")->check(CLI::Range(300, 256'000));
  command->add_option("--out", arguments->out, "tokenizer.model to write")->required();
  command->callback([arguments] {
    std::vector<std::string> texts;
    for (const std::string& file : arguments->files)
      for (const llm::Conversation& conversation : llm::read_conversations(file))
        for (const llm::Turn& turn : conversation.turns)
          texts.push_back(turn.text);
    text::train_vocabulary(texts, arguments->size, arguments->out);
    fmt::print("{} pieces from {} texts: {}\n", with_commas(arguments->size),
               with_commas(static_cast<int64_t>(texts.size())), arguments->out.string());
  });
}

void add_new(CLI::App& parent) {
  struct Arguments {
    llm::NewModel what;
    std::filesystem::path out;
  };
  auto arguments = std::make_shared<Arguments>();
  auto& what = arguments->what;
  auto* command = parent.add_subcommand("new", "a LLaMA with random weights");
  command->add_option("--tokenizer", what.tokenizer, "tokenizer.model")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--out", arguments->out, "model directory to write")->required();
  command->add_option("--hidden", what.hidden, "width")->capture_default_str();
  command->add_option("--intermediate", what.intermediate, "of the perceptron")
      ->capture_default_str();
  command->add_option("--layers", what.layers)->capture_default_str();
  command->add_option("--heads", what.heads)->capture_default_str();
  command->add_option("--positions", what.positions, "longest text, tokens")->capture_default_str();
  command->add_option("--seed", what.seed, "of the weights")->capture_default_str();
  command->callback([arguments] {
    fmt::print("{} parameters: {}\n", with_commas(llm::new_model(arguments->what, arguments->out)),
               arguments->out.string());
  });
}

void add_convert(CLI::App& parent) {
  struct Arguments {
    std::filesystem::path model, out;
    std::string dtype;
  };
  auto arguments = std::make_shared<Arguments>();
  auto* command = parent.add_subcommand("convert", "the same model with weights in another dtype");
  command->add_option("--model", arguments->model, "the model")
      ->required()
      ->check(CLI::ExistingDirectory);
  command->add_option("--dtype", arguments->dtype, "float32, bfloat16, float16")->required();
  command->add_option("--out", arguments->out, "model directory to write")->required();
  command->callback([arguments] {
    llm::convert(arguments->model, arguments->dtype, arguments->out);
    fmt::print("{}\n", arguments->out.string());
  });
}

}  // namespace

void add_llm_new(CLI::App& llm) {
  add_corpus(llm);
  add_vocabulary(llm);
  add_new(llm);
  add_convert(llm);
}

}  // namespace llmcf::apps
