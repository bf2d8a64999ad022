// The stages of variants that read what a reasoner knows besides chains of thought: KAR's texts
// about users and items, and distillation's teacher.
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "cot/reasoner.h"
#include "cot/template_reasoner.h"
#include "pipeline/encoders.h"
#include "pipeline/erasure.h"
#include "pipeline/journey.h"
#include "pipeline/stage_key.h"
#include "train/metrics.h"

namespace llmcf::pipeline {

namespace {

// Versions of the artefacts' formats and meaning, by stage.
constexpr int kNotesFormat = 1;
constexpr int kKnowledgeFormat = 1;
constexpr int kTeachFormat = 1;

void tell(const char* what, const cot::KnowledgeReport& report) {
  log::info("{}: {} jobs, {} answered now, {} failed, {} remaining", what, report.jobs,
            report.answered, report.failed, report.remaining);
}

}  // namespace

const cot::KnowledgeSet& Journey::knowledge_set() {
  if (!knowledge_) knowledge_ = std::make_unique<cot::KnowledgeSet>(workspace_.knowledge());
  return *knowledge_;
}

const cot::TeacherSet& Journey::teacher() {
  if (!teacher_) teacher_ = std::make_unique<cot::TeacherSet>(workspace_.teacher());
  return *teacher_;
}

cot::KnowledgeInput Journey::knowledge_input(const cot::Prompt& prompt) {
  return {.dataset = dataset(), .rows = rows(), .prompt = prompt, .reasoner = *reasoner_};
}

std::string Journey::estimate_reasoning() {
  std::optional<cot::Pool> pool;
  if (std::filesystem::exists(workspace_.pool())) pool.emplace(workspace_.pool());
  cot::Pool* known = pool ? &*pool : nullptr;
  std::string text;
  if (uses_examples_) {
    const auto encoder = load_encoder(workspace_.encoder());
    text += cot::estimate({.dataset = dataset(),
                           .rows = example_rows(),
                           .prompt = *prompt_,
                           .reasoner = *reasoner_,
                           .encoder = *encoder},
                          known, generate_options_)
                .text();
  }
  const auto add = [&](cot::JobKind kind, const cot::Prompt& prompt,
                       const std::vector<cot::KnowledgeJob>& jobs) {
    text += cot::estimate_knowledge(kind, knowledge_input(prompt), jobs, known, generate_options_)
                .text();
  };
  if (uses_knowledge_) {
    const cot::UserPrefixes prefixes(dataset(), rows(), generate_options_.whole_users);
    add(cot::JobKind::kUser, *user_prompt_,
        cot::user_jobs(dataset(), rows(), prefixes, generate_options_.max_history));
    add(cot::JobKind::kItem, *item_prompt_, cot::item_jobs(dataset()));
  }
  if (uses_teacher_ && reasoner_->judges()) {
    add(cot::JobKind::kTeach, *teach_prompt_,
        cot::teach_jobs(dataset(), rows(), teach_options_, generate_options_.max_history));
  } else if (uses_teacher_) {
    text += fmt::format("verdicts of the teacher\n  requests                none: {}\n",
                        cot::kTemplateTeacher);
  }
  return text.empty() ? "no variant reads what a reasoner writes\n" : text;
}

void Journey::reason_about_users_and_items() {
  const std::string key = stage_key("reason.knowledge", kNotesFormat,
                                    {digests_.dataset, digests_.rows, config_.reason.canonical(),
                                     config_.protocol, user_prompt_->hash(), item_prompt_->hash()});
  bool complete = true;
  const auto work = [this, &complete] {
    cot::Pool pool(workspace_.pool());
    erase_from(pool, workspace_);
    const cot::UserPrefixes prefixes(dataset(), rows(), generate_options_.whole_users);
    const auto users = cot::generate_knowledge(
        cot::JobKind::kUser, knowledge_input(*user_prompt_),
        cot::user_jobs(dataset(), rows(), prefixes, generate_options_.max_history), pool,
        generate_options_);
    const auto items = cot::generate_knowledge(cot::JobKind::kItem, knowledge_input(*item_prompt_),
                                               cot::item_jobs(dataset()), pool, generate_options_);
    tell("texts about users", users);
    tell("texts about items", items);
    complete = users.remaining == 0 && items.remaining == 0;
  };
  const auto digest = [this] {
    cot::Pool pool(workspace_.pool());
    return cot::KnowledgePool(pool, cot::JobKind::kUser).content_hash() +
           cot::KnowledgePool(pool, cot::JobKind::kItem).content_hash();
  };
  digests_.notes = runner_.run({.name = "reason.knowledge",
                                .key = key,
                                .outputs = {workspace_.pool()},
                                .work = work,
                                .complete = [&complete] { return complete; },
                                .digest = digest});
}

void Journey::knowledge() {
  if (!uses_knowledge_) return;
  const std::string key = stage_key("knowledge", kKnowledgeFormat,
                                    {digests_.dataset, digests_.rows, digests_.text, digests_.notes,
                                     generate_options_.whole_users ? "whole" : "powers"});
  const auto work = [this] {
    const auto encoder = load_encoder(workspace_.encoder());
    cot::Pool pool(workspace_.pool());
    const cot::UserPrefixes prefixes(dataset(), rows(), generate_options_.whole_users);
    const auto counts =
        cot::write_knowledge(pool, dataset(), rows(), prefixes, *encoder, workspace_.knowledge());
    log::info("knowledge: {} texts about users, {} about items", counts.users, counts.items);
    if (counts.rows_shorter + counts.rows_without + counts.items_without > 0) {
      log::warn(
          "texts are missing: {} rows read a shorter history's, {} rows read none, {} items have "
          "none",
          counts.rows_shorter, counts.rows_without, counts.items_without);
    }
  };
  digests_.knowledge = runner_.run({.name = "knowledge",
                                    .key = key,
                                    .outputs = {workspace_.knowledge()},
                                    .work = work,
                                    .complete = {},
                                    .digest = {}});
}

void Journey::teach() {
  if (!uses_teacher_) return;
  // What the template scores depends on nothing else of section `reason`.
  const std::string asked = reasoner_->judges() ? config_.reason.canonical() + teach_prompt_->hash()
                                                : cot::TemplateReasoner().settings();
  const std::string key = stage_key("teach", kTeachFormat,
                                    {digests_.dataset, digests_.rows, config_.teach.canonical(),
                                     asked, std::to_string(generate_options_.max_history)});
  bool complete = true;
  const auto work = [this, &complete] {
    const cot::TeacherScores scores = reasoner_->judges()
                                          ? ask_teacher(complete)
                                          : cot::template_scores(dataset(), rows(), teach_options_,
                                                                 generate_options_.max_history);
    const auto notes = measure(scores);
    log::info("teacher ({}): {}", scores.source, notes.at("measured"));
    cot::save_teacher(scores, notes, workspace_.teacher());
  };
  digests_.teacher = runner_.run({.name = "teach",
                                  .key = key,
                                  .outputs = {workspace_.teacher()},
                                  .work = work,
                                  .complete = [&complete] { return complete; },
                                  .digest = {}});
}

cot::TeacherScores Journey::ask_teacher(bool& complete) {
  cot::Pool pool(workspace_.pool());
  erase_from(pool, workspace_);
  const auto report = cot::generate_knowledge(
      cot::JobKind::kTeach, knowledge_input(*teach_prompt_),
      cot::teach_jobs(dataset(), rows(), teach_options_, generate_options_.max_history), pool,
      generate_options_);
  tell("verdicts of the teacher", report);
  complete = report.remaining == 0;
  cot::TeacherScores scores = cot::pool_scores(pool, dataset(), rows(), teach_options_);
  if (scores.source.empty())
    scores.source = fmt::format("{}:{}", reasoner_->kind(), reasoner_->model());
  return scores;
}

// The teacher's own AUC and LogLoss on the rows that it scored.
std::map<std::string, std::string> Journey::measure(const cot::TeacherScores& scores) {
  std::map<std::string, std::string> notes;
  std::string& told = notes["measured"];
  for (const data::Split split : data::kAllSplits) {
    const std::vector<float>& logits = scores.logits[static_cast<size_t>(split)];
    std::vector<float> margins, labels;
    for (size_t row = 0; row < logits.size() / 2; ++row) {
      const float margin = logits[2 * row] - logits[2 * row + 1];
      if (std::isnan(margin)) continue;
      margins.push_back(margin);
      labels.push_back(rows().rows(split).label[row]);
    }
    const std::string name(data::split_name(split));
    notes["rows." + name] = std::to_string(margins.size());
    if (margins.empty()) continue;
    const auto auc = train::auc(margins, labels);
    notes["auc." + name] = auc ? fmt::format("{:.6f}", *auc) : "undefined";
    notes["log_loss." + name] = fmt::format("{:.6f}", train::log_loss(margins, labels));
    told += fmt::format("{}{} rows {}, AUC {}, LogLoss {}", told.empty() ? "" : "; ", name,
                        margins.size(), notes["auc." + name].substr(0, 6),
                        notes["log_loss." + name].substr(0, 6));
  }
  if (told.empty()) told = "no row was scored";
  return notes;
}

void Journey::add_side_tables(train::FeatureInputs& inputs) {
  if (uses_knowledge_) {
    inputs.kar_user = knowledge_set().user_vectors();
    inputs.kar_item = knowledge_set().item_vectors();
    inputs.kar_dim = knowledge_set().width();
    for (const data::Split split : data::kAllSplits)
      inputs.kar_user_row[static_cast<size_t>(split)] = knowledge_set().user_row(split);
  }
  // Only training reads a teacher.
  if (uses_teacher_) inputs.teacher_logits[0] = teacher().logits(data::Split::kTrain);
}

}  // namespace llmcf::pipeline
