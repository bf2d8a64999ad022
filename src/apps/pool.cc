// llmcf pool: looks into the pool of chains of thought, moves it between files, asks for new
// answers.
#include "cot/pool.h"

#include <map>
#include <memory>

#include <fmt/format.h>

#include "apps/commands.h"
#include "core/error.h"
#include "core/strings.h"
#include "cot/generate.h"
#include "cot/grounding.h"
#include "cot/row_resolver.h"
#include "pipeline/erasure.h"
#include "pipeline/workspace.h"

namespace llmcf::apps {

namespace {

struct PoolArguments {
  ConfigOptions config;
  std::string file;
  std::string user;
  std::string what = "rejected";
  std::string note;
  int64_t limit = 5;
};

// Opens the workspace (and its lock) together with its pool.
struct OpenPool {
  explicit OpenPool(const PoolArguments& arguments, bool create = false)
      : workspace(load_config(arguments.config).workspace),
        pool((require(workspace.pool(), create), workspace.pool())) {}

  static void require(const std::filesystem::path& path, bool create) {
    if (create || std::filesystem::exists(path)) return;
    throw Error(
        fmt::format("{}: there is no pool yet; `llmcf reason CONFIG` makes it", path.string()));
  }

  pipeline::Workspace workspace;
  cot::Pool pool;
};

void print_stats(const PoolArguments& arguments) {
  const OpenPool open(arguments);
  const cot::PoolStats stats = open.pool.stats();
  fmt::print("version    {}\n", stats.version);
  for (const auto& [state, count] : stats.jobs)
    fmt::print("jobs       {:<10} {:>10}\n", state, with_commas(count));
  fmt::print("           {:<10} {:>10}\n", "inactive", with_commas(stats.inactive_jobs));
  fmt::print("answers    {:<10} {:>10}\n", "all", with_commas(stats.answers));
  fmt::print("           {:<10} {:>10}\n", "accepted", with_commas(stats.accepted));
  fmt::print("           {:<10} {:>10}\n", "rejected", with_commas(stats.rejected));
  fmt::print("           {:<10} {:>10}\n", "unscored", with_commas(stats.unscored));
  fmt::print("           {:<10} {:>10}\n", "superseded", with_commas(stats.superseded));
  for (const auto& [reasoner, count] : stats.reasoners) {
    fmt::print("written by {:<10} {:>10}\n", reasoner, with_commas(count));
  }
  for (const auto& [reason, count] : stats.rejections) {
    fmt::print("rejected   {:<10} {:>10}\n", reason, with_commas(count));
  }
  fmt::print(
      "scores     coherence_v2 {:.3f}  completeness {:.3f}  relevance {:.3f}  consistency {:.3f}  "
      "total {:.3f}\n",
      stats.mean.coherence, stats.mean.completeness, stats.mean.relevance, stats.mean.consistency,
      stats.mean.total);
  for (const auto& [kind, knowledge] : stats.knowledge) {
    for (const auto& [state, count] : knowledge.jobs)
      fmt::print("{:<10} {:<10} {:>10}\n", kind, state, with_commas(count));
    for (const auto& [writer, count] : knowledge.reasoners)
      fmt::print("{:<10} by {:<7} {:>10}\n", kind, writer, with_commas(count));
  }
  fmt::print("spent      {} requests ({} failed), {} tokens, {:.4f} money\n",
             with_commas(stats.spent.requests), with_commas(stats.spent.failed_requests),
             with_commas(stats.spent.tokens()), stats.spent.money);
}

void print_answer(const cot::Answer& answer) {
  const char* state = answer.superseded_by      ? "superseded"
                      : !answer.accepted        ? "unscored"
                      : answer.accepted.value() ? "accepted"
                                                : "rejected";
  fmt::print("  answer {} ({}, {}, version {}{}{})\n", answer.id, answer.source.kind, state,
             answer.version,
             answer.scores ? fmt::format(", score {:.3f}", answer.scores->total) : "",
             answer.reason.empty() ? "" : ", " + answer.reason);
  fmt::print("    {}\n", answer.text);
}

void print_knowledge(const cot::Pool::ShownKnowledge& shown) {
  std::string about = shown.kind == "item" ? "" : fmt::format(" {}", shown.user);
  if (shown.kind != "item") about += fmt::format(" after {} items", shown.position);
  if (!shown.item.empty()) about += fmt::format(" {}", shown.item);
  fmt::print("{}{} ({}{}{})\n", shown.kind, about, cot::job_state_name(shown.state),
             shown.reasoner.empty() ? "" : ", ", shown.reasoner);
  if (shown.verdict)
    fmt::print("  log P(Yes) {:.3f}, log P(No) {:.3f}\n", shown.verdict->yes, shown.verdict->no);
  if (!shown.text.empty()) fmt::print("    {}\n", shown.text);
}

void print_jobs(const PoolArguments& arguments) {
  const OpenPool open(arguments);
  for (const auto& shown : open.pool.show(arguments.user, arguments.limit)) {
    fmt::print("job {}: user {}, after {} items, item {}, {} ({})\n", shown.job, shown.row.user,
               shown.row.position, shown.row.item, shown.row.label > 0.5F ? "taken" : "not taken",
               cot::job_state_name(shown.state));
    for (const auto& answer : shown.answers)
      print_answer(answer);
  }
  for (const auto& shown : open.pool.show_knowledge(arguments.user, arguments.limit))
    print_knowledge(shown);
}

void print_grounding(const PoolArguments& arguments) {
  const OpenPool open(arguments);
  const data::Dataset dataset(open.workspace.dataset());
  const data::RowSet rows(open.workspace.rows());
  const cot::RowResolver resolver(dataset, rows);
  const auto max_history =
      cot::GenerateOptions::from(load_config(arguments.config).reason, "strict").max_history;
  std::map<std::string, std::vector<cot::GroundedText>> by_reasoner;
  const auto accepted = open.pool.accepted();
  for (const cot::Accepted& answer : accepted)
    by_reasoner[answer.reasoner].push_back(
        {resolver.facts(answer.row, true, max_history), answer.text});
  fmt::print("{:<28} {:<24} {:>9} {:>12}\n", "written by", "states correctly", "own row",
             "another row");
  for (const auto& [reasoner, texts] : by_reasoner) {
    const cot::Grounding own = cot::measure_grounding(texts), other = cot::measure_shuffled(texts);
    const auto line = [&](const std::string& what, double a, double b) {
      fmt::print("{:<28} {:<24} {:>9.3f} {:>12.3f}\n", reasoner, what, a, b);
    };
    line("the target's title words", own.title_words.share, other.title_words.share);
    for (const auto& [field, stated] : own.fields)
      line("its " + field, stated.share, other.fields.at(field).share);
    line("the decision", own.decision.share, other.decision.share);
    line("(texts without one)", own.no_decision, other.no_decision);
  }
}

}  // namespace

void add_pool(CLI::App& app) {
  auto arguments = std::make_shared<PoolArguments>();
  auto* command = app.add_subcommand(
      "pool", "look into the pool of what reasoners wrote, export, import or refresh it");
  command->require_subcommand(1);

  auto* stats = command->add_subcommand("stats", "jobs, answers, scores, tokens and money");
  add_config_options(*stats, arguments->config);
  stats->callback([arguments] { print_stats(*arguments); });

  auto* show = command->add_subcommand("show", "jobs with their answers and verdicts");
  add_config_options(*show, arguments->config);
  show->add_option("--user", arguments->user, "only this user's (the id of the input)");
  show->add_option("--limit", arguments->limit, "jobs to show")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  show->callback([arguments] { print_jobs(*arguments); });

  auto* grounding = command->add_subcommand(
      "grounding",
      "how often accepted answers state what their row holds, and what another's does");
  add_config_options(*grounding, arguments->config);
  grounding->callback([arguments] { print_grounding(*arguments); });

  auto* write = command->add_subcommand("export", "write everything in the pool as JSON lines");
  add_config_options(*write, arguments->config);
  write->add_option("--out", arguments->file, "file to write")->required();
  write->callback([arguments] {
    OpenPool(*arguments).pool.export_jsonl(arguments->file);
    fmt::print("pool written to {}\n", arguments->file);
  });

  auto* read = command->add_subcommand("import", "fill an empty pool from an export");
  add_config_options(*read, arguments->config);
  read->add_option("--from", arguments->file, "file to read")->required()->check(CLI::ExistingFile);
  read->callback([arguments] {
    OpenPool open(*arguments, true);
    open.pool.import_jsonl(arguments->file);
    pipeline::erase_from(open.pool,
                         open.workspace);  // an older export may hold who was erased since
    fmt::print("pool read from {}\n", arguments->file);
  });

  auto* refresh = command->add_subcommand(
      "refresh", "begin a new version: the next run asks for new answers, old ones stay");
  add_config_options(*refresh, arguments->config);
  refresh->add_option("--which", arguments->what, "all jobs, or those without an accepted answer")
      ->check(CLI::IsMember({"all", "rejected"}))
      ->capture_default_str();
  refresh->add_option("--note", arguments->note, "why, kept with the version");
  refresh->callback([arguments] {
    OpenPool open(*arguments);
    const auto which =
        arguments->what == "all" ? cot::Pool::Refresh::kAll : cot::Pool::Refresh::kRejected;
    for (const char* stage : {"reason", "reason.knowledge", "teach"})
      std::filesystem::remove(open.workspace.state(stage));  // first: the next run must ask
    const int64_t version = open.pool.refresh(which, arguments->note);
    fmt::print("version {} begun; `llmcf run` asks for its answers\n", version);
  });
}

}  // namespace llmcf::apps
