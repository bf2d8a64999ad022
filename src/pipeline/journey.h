// The stages of a run, one method each, in order. Internal to run.cc, drift.cc and tests: call
// run() (run.h). What is protected serves studies that reuse stages over rows of their own.
//
// Invariant: a stage reads only artefacts of the workspace and its section of the configuration;
// what it read is in its key, directly or as the digest of the stage that wrote it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "cot/examples.h"
#include "cot/generate.h"
#include "cot/knowledge_set.h"
#include "cot/teacher.h"
#include "data/dataset.h"
#include "data/import.h"
#include "data/rows.h"
#include "models/options.h"
#include "pipeline/measures.h"
#include "pipeline/report/report.h"
#include "pipeline/run_config.h"
#include "pipeline/stage_runner.h"
#include "pipeline/workspace.h"
#include "retrieval/assign.h"
#include "retrieval/collaborative.h"
#include "retrieval/options.h"
#include "train/feature_store.h"
#include "train/trainer.h"

namespace llmcf::pipeline {

class Journey {
 public:
  // Reads and checks the whole configuration before any stage runs. Throws InputError.
  Journey(const RunConfig& config, std::set<std::string> force, Access access = Access::kAlone);

  // Whether the stages before train are somebody else's: one that is not current is an error.
  void require_current(bool on) { runner_.require_current(on); }

  void import();
  void split();
  void encode();
  void reason();
  void pool();
  void knowledge();
  void teach();
  void retrieve();
  void train();
  void report();

  // What the reason and teach stages would ask for. Needs import, split and encode.
  std::string estimate_reasoning();

  const Workspace& workspace() const { return workspace_; }
  const StageRunner& runner() const { return runner_; }
  // Filled by report().
  const std::optional<ReportData>& results() const { return results_; }

 protected:
  // One variant with its sections read.
  struct ReadVariant {
    std::string name;
    models::ModelOptions model;
    train::TrainOptions train;
    train::FeatureOptions features;
    std::string key;  // canonical text of both sections
  };
  struct Digests {
    std::string dataset, rows, example_rows, text, pool, examples, notes, knowledge, teacher,
        retrieval;
  };

  // One finished run of the configuration.
  struct ChosenRun {
    const ReadVariant* variant = nullptr;
    int64_t seed = 0;
  };
  // Empty name = the last variant, 0 = the first seed. Throws Error naming the nearest variant, or
  // the seed that is not the run's.
  ChosenRun choose(const std::string& variant, int64_t seed) const;
  // The stages that are stale up to this run; other runs are left alone.
  void make_current(const ChosenRun& run);
  // The weights of the run's best epoch.
  std::filesystem::path best_weights(const ChosenRun& run) const;

  const data::Dataset& dataset();
  const data::RowSet& rows();
  // Whose training rows become examples.
  const data::RowSet& example_rows() { return example_rows_ ? *example_rows_ : rows(); }
  const cot::ExampleSet& examples();
  const cot::KnowledgeSet& knowledge_set();
  const cot::TeacherSet& teacher();
  cot::KnowledgeInput knowledge_input(const cot::Prompt& prompt);
  cot::TeacherScores ask_teacher(bool& complete);
  std::map<std::string, std::string> measure(const cot::TeacherScores& scores);
  void reason_about_rows();
  void reason_about_users_and_items();
  void add_side_tables(train::FeatureInputs& inputs);
  std::span<const float> item_text();
  // What retrieval compares items by: texts, log and, where they have a share, chains of thought.
  retrieval::ItemVectors item_vectors();
  // The stage retrieve: assigns examples to each of the queries, asked for only if it runs, and
  // writes one file for each of them.
  void retrieve_for(const std::string& key, const std::vector<std::filesystem::path>& outputs,
                    const std::function<std::vector<retrieval::Queries>()>& queries);
  // What models read; `slots` takes the assignments that the result points at.
  train::FeatureInputs feature_inputs(std::vector<retrieval::Assignment>& slots);
  // Whose words examples are, for people.
  std::string reasoner_text() const;
  std::string variant_key(const ReadVariant& variant, int64_t seed) const;
  // The fields that tasks share.
  void describe(const ReadVariant& variant, int64_t seed, train::RunTask& task);
  train::TrainTask task_of(const ReadVariant& variant, int64_t seed,
                           const train::FeatureStore& features);
  void train_variant(const ReadVariant& variant, const std::vector<int64_t>& seeds);
  // The stage train of one run; `train` does the work.
  void train_one(const ReadVariant& variant, int64_t seed,
                 const std::function<train::TrainResult(const train::TrainOptions&)>& train);

  const RunConfig& config_;
  Workspace workspace_;
  StageRunner runner_;
  data::ImportOptions import_options_;
  data::SplitOptions split_options_;
  cot::GenerateOptions generate_options_;
  std::optional<cot::Prompt> prompt_, user_prompt_, item_prompt_, teach_prompt_;
  std::unique_ptr<cot::Reasoner> reasoner_;
  cot::ExampleOptions example_options_;
  cot::TeachOptions teach_options_;
  retrieval::RetrievalOptions retrieval_options_;
  std::vector<ReadVariant> variants_;
  bool uses_examples_ = false;   // some variant reads examples
  bool uses_knowledge_ = false;  // some variant is KAR
  bool uses_teacher_ = false;    // some variant distils
  Task task_ = Task::kClicks;

  Digests digests_;
  std::unique_ptr<data::Dataset> dataset_;
  std::unique_ptr<data::RowSet> rows_;
  std::unique_ptr<data::RowSet> example_rows_;  // null: rows()
  std::unique_ptr<cot::ExampleSet> examples_;
  std::unique_ptr<cot::KnowledgeSet> knowledge_;
  std::unique_ptr<cot::TeacherSet> teacher_;
  std::unique_ptr<SafetensorsReader> item_text_;
  int64_t text_dim_ = 0;
  std::optional<ReportData> results_;
};

// The columns that retrieval reads; `examples` must outlive the result.
retrieval::Pool pool_of(const cot::ExampleSet& examples);

}  // namespace llmcf::pipeline
