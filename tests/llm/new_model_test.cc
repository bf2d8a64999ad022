// A model from nothing: vocabulary, weights, another dtype, and a first lesson.
#include "llm/new_model.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "llm/engine.h"
#include "llm/language_model.h"
#include "llm/tuning_run.h"
#include "text/language_tokenizer.h"
#include "text/train_vocabulary.h"

namespace llmcf::llm {
namespace {

using ::testing::HasSubstr;

class NewModelTest : public ::testing::Test {
 protected:
  NewModelTest() {
    for (int i = 0; i < 200; ++i)
      texts_.push_back("The brand number " + std::to_string(i) +
                       " is made for swimmers\nand hikers.");
    text::train_vocabulary(texts_, 320, path("tokenizer.model"));
    new_model({.tokenizer = path("tokenizer.model"),
               .hidden = 32,
               .intermediate = 64,
               .layers = 2,
               .heads = 2,
               .positions = 64},
              path("start"));
  }
  std::filesystem::path path(const std::string& name) const { return directory_.path() / name; }

  TemporaryDirectory directory_;
  std::vector<std::string> texts_;
};

TEST_F(NewModelTest, TheVocabularyGivesAnyBytesBack) {
  const auto tokenizer = text::load_language_tokenizer(path("start"));
  EXPECT_EQ(tokenizer->size(), 320);
  for (const std::string text : {"The brand is made for hikers.", "line\nbreak  and  spaces",
                                 "snowman \xE2\x98\x83 \xFF end"})
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_LT(tokenizer->encode("The brand is made for swimmers").size(), 12U);
}

TEST_F(NewModelTest, TheSameTextsGiveTheSameVocabulary) {
  text::train_vocabulary(texts_, 320, path("again.model"));
  EXPECT_TRUE(read_file(path("again.model")) == read_file(path("tokenizer.model")));
}

TEST_F(NewModelTest, AnotherDtypeIsTheSameModelButForRounding) {
  convert(path("start"), "float16", path("half"));
  EXPECT_LT(
      std::filesystem::file_size(path("half") / "model.safetensors"),
      0.6 * static_cast<double>(std::filesystem::file_size(path("start") / "model.safetensors")));
  const auto a = LanguageModel::load(path("start"), torch::kFloat, torch::kCPU);
  const auto b = LanguageModel::load(path("half"), torch::kFloat, torch::kCPU);
  const auto left = a->parameters(), right = b->parameters();
  ASSERT_EQ(left.size(), right.size());
  for (size_t i = 0; i < left.size(); ++i)
    EXPECT_LT((left[i].second - right[i].second).abs().max().item<float>(), 1e-3F) << left[i].first;
}

TEST_F(NewModelTest, LearnsDocumentsByHeart) {
  write_file(path("prose.txt"), "Acme is made for swimmers.\n\nToolco is made for hikers.\n");
  write_file(path("tune.yaml"),
             "model: start\nout: tuned\nvalid_share: 0\nlength: 64\ndata: [{path: prose.txt}]\n"
             "tune: {epochs: 120, rows_per_step: 1, learning_rate: 0.01, save_every: 0}\n");
  const TuningReport report = run_tuning(Config::load(path("tune.yaml")));
  EXPECT_GT(report.first_loss, 4);
  EXPECT_LT(report.last_loss, 0.5);
  Engine engine({.model = path("tuned")});
  GenerationRequest request;
  request.prompt = engine.raw_prompt("Toolco is made");
  request.max_tokens = 8;
  request.sampling.temperature = 0;
  EXPECT_THAT(engine.generate(std::move(request)).get().text, HasSubstr("for hikers"));
}

TEST_F(NewModelTest, WhatDoesNotFitIsNamed) {
  try {
    new_model({.tokenizer = path("tokenizer.model"), .hidden = 33, .heads = 2}, path("odd"));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("33"));
  }
  EXPECT_FALSE(std::filesystem::exists(path("odd")));
  EXPECT_THROW(text::train_vocabulary(texts_, 100000, path("large")), Error);
  EXPECT_FALSE(std::filesystem::exists(path("large")));
}

}  // namespace
}  // namespace llmcf::llm
