// The stage `reason` with the template reasoner and LSA-256 on Amazon Beauty where LLMCF_SHARED (or
// ../shared) holds it, else on the sample shop of a similar size; share 1/10.
//
//   cot.generate.template   jobs per second: facts, texts, four scores each, stored durably
//   cot.template.text       texts per second on one thread, facts given
//   cot.examples            examples per second: encode and write
//   cot.template.alignment  AUC of attribute_alignment() as a recommender on the training rows'
//   sample
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "core/files.h"
#include "core/progress.h"
#include "cot/examples.h"
#include "cot/generate.h"
#include "cot/row_resolver.h"
#include "cot/template_reasoner.h"
#include "data/import.h"
#include "data/sample.h"
#include "text/lsa.h"

namespace llmcf {
namespace {

void import(const std::filesystem::path& directory, const std::filesystem::path& out) {
  const char* shared = std::getenv("LLMCF_SHARED");
  data::ImportOptions options;
  options.format = "tsv";
  options.path =
      std::filesystem::path(shared != nullptr ? shared : "../shared") / "data" / "amazon-beauty";
  if (!std::filesystem::exists(options.path)) {
    data::write_sample({.users = 22'000, .items = 12'000, .events_per_user = 9}, directory);
    options.format = "table";
    options.path = directory;
    options.schema_file = directory / "schema.yaml";
  }
  data::import_dataset(options, out);
}

// Area under the ROC curve; ties count half.
double auc(std::vector<std::pair<double, bool>> scored) {
  std::sort(scored.begin(), scored.end());
  double below = 0, sum = 0, positives = 0;
  for (size_t begin = 0; begin < scored.size();) {
    size_t end = begin;
    double ones = 0;
    while (end < scored.size() && scored[end].first == scored[begin].first)
      ones += scored[end++].second ? 1 : 0;
    const double zeros = static_cast<double>(end - begin) - ones;
    sum += ones * (below + zeros / 2);
    below += zeros;
    positives += ones;
    begin = end;
  }
  return sum / (positives * below);
}

void bench_texts(const data::Dataset& dataset, const data::RowSet& rows) {
  const auto sample = cot::sample_rows(dataset, rows, 0.02, 1);
  const cot::RowResolver resolver(dataset, rows);
  std::vector<cot::Facts> facts;
  std::vector<std::pair<double, bool>> scored;
  for (const cot::JobRow& row : sample) {
    facts.push_back(resolver.facts(row, true, 20));
    scored.emplace_back(cot::attribute_alignment(facts.back()), row.label >= 0.5F);
  }
  size_t bytes = 0;
  const double taken = bench::median_seconds(3, [&] {
    for (const cot::Facts& fact : facts)
      bytes += cot::template_text(fact, 1).size();
  });
  bench::report("cot.template.text", static_cast<double>(facts.size()) / taken, "texts/s");
  bench::report("cot.template.alignment", auc(scored), "AUC");
  std::fprintf(stderr, "mean length %zu characters; two of them:\n%s\n%s\n",
               bytes / facts.size() / 4, cot::template_text(facts[10], 1).c_str(),
               cot::template_text(facts[11], 2).c_str());
}

void bench_stage(const data::Dataset& dataset, const data::RowSet& rows,
                 const std::filesystem::path& directory) {
  std::vector<std::string_view> texts;
  for (int64_t item = 1; item <= dataset.num_items(); ++item)
    texts.push_back(dataset.item_text(item));
  const text::Lsa encoder = text::Lsa::fit(texts, {});
  const cot::TemplateReasoner reasoner;
  const cot::Prompt prompt = cot::Prompt::builtin("cot_default");
  cot::GenerateOptions options;
  options.candidates = 1;
  cot::Pool pool(directory / "pool.sqlite");
  cot::GenerateReport result;
  const double taken = bench::seconds([&] {
    result = cot::generate({.dataset = dataset,
                            .rows = rows,
                            .prompt = prompt,
                            .reasoner = reasoner,
                            .encoder = encoder},
                           pool, options);
  });
  bench::report("cot.generate.template", static_cast<double>(result.answered) / taken, "jobs/s");
  const double writing = bench::seconds(
      [&] { cot::write_examples(pool, dataset, rows, encoder, directory / "examples"); });
  bench::report("cot.examples", static_cast<double>(result.accepted) / writing, "examples/s");
  const cot::PoolStats stats = pool.stats();
  std::fprintf(stderr,
               "%ld jobs in %.1f s; pool %.1f MiB; mean scores: coherence %.3f completeness %.3f "
               "relevance %.3f consistency %.3f\n",
               static_cast<long>(result.sample), taken,
               static_cast<double>(std::filesystem::file_size(directory / "pool.sqlite")) / 1048576,
               stats.mean.coherence, stats.mean.completeness, stats.mean.relevance,
               stats.mean.consistency);
}

void run() {
  const TemporaryDirectory directory;
  set_progress_enabled(false);
  import(directory.path(), directory.path() / "dataset");
  const data::Dataset dataset(directory.path() / "dataset");
  data::write_rows(dataset, {}, directory.path() / "rows");
  const data::RowSet rows(directory.path() / "rows");
  if (bench::wanted("cot.template")) bench_texts(dataset, rows);
  if (bench::wanted("cot.generate") || bench::wanted("cot.examples"))
    bench_stage(dataset, rows, directory.path());
  std::fprintf(stderr, "peak memory %.0f MiB\n", bench::peak_memory_mib());
}

}  // namespace
}  // namespace llmcf

int main(int argc, char** argv) {
  llmcf::bench::init(argc, argv);
  if (llmcf::bench::wanted("cot")) llmcf::run();
}
