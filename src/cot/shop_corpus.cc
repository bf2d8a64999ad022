#include "cot/shop_corpus.h"

#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/progress.h"
#include "core/random.h"
#include "cot/prompt.h"
#include "cot/row_resolver.h"
#include "cot/shop_expert.h"
#include "cot/shop_prose.h"
#include "data/import.h"
#include "data/rows.h"

namespace llmcf::cot {

namespace {

// An array written entry by entry.
class AlpacaFile {
 public:
  explicit AlpacaFile(const std::filesystem::path& path) : file_(path) { file_.write("["); }
  void add(const std::string& system, const std::string& instruction, const std::string& output) {
    nlohmann::ordered_json entry;
    if (!system.empty()) entry["system"] = system;
    entry["instruction"] = instruction;
    entry["input"] = "";
    entry["output"] = output;
    file_.write((first_ ? "\n" : ",\n") + entry.dump());
    first_ = false;
  }
  void finish() {
    file_.write("\n]\n");
    file_.commit();
  }

 private:
  AtomicFile file_;
  bool first_ = true;
};

// Rows of one shop, asked about.
class ShopRows {
 public:
  ShopRows(const CorpusOptions& options, int64_t number)
      : options_(options), random_(static_cast<uint64_t>(options.seed + number), "cot.corpus") {
    data::SampleOptions shop = options.shop;
    shop.seed = options.seed + number;
    data::write_sample(shop, directory_.path());
    data::ImportOptions import;
    import.schema_file = directory_.path() / "schema.yaml";
    data::import_dataset(import, directory_.path() / "dataset");
    dataset_ = std::make_unique<data::Dataset>(directory_.path() / "dataset");
    data::write_rows(*dataset_, {}, directory_.path() / "rows");
    rows_ = std::make_unique<data::RowSet>(directory_.path() / "rows");
  }

  void write(AlpacaFile& file, CorpusReport& report) {
    const RowResolver resolver(*dataset_, *rows_);
    const Prompt explain = Prompt::builtin("cot_short");
    const Prompt teach = Prompt::builtin("teach_short", {}, PromptUse::kTeach);
    const data::Rows& train = rows_->train();
    std::vector<int64_t> order(static_cast<size_t>(train.size()));
    std::iota(order.begin(), order.end(), 0);
    random_.shuffle(order);
    int64_t chains = options_.chains, verdicts = options_.verdicts;
    for (const int64_t row : order) {
      if (chains + verdicts == 0) break;
      const auto at = static_cast<size_t>(row);
      Facts facts =
          resolver.facts(train.user[at], train.position[at], train.item[at], options_.max_history);
      const bool yes = train.label[at] > 0.5F;
      if (chains > 0) {
        --chains;
        ++report.chains;
        facts.decision = yes;
        const RenderedPrompt prompt = explain.render(facts, options_.max_item_chars);
        file.add(prompt.system, prompt.user, shop_expert_text(facts, random_.next()));
      } else {
        --verdicts;
        ++report.verdicts;
        const RenderedPrompt prompt = teach.render(facts, options_.max_item_chars);
        file.add(prompt.system, prompt.user, yes ? "Yes" : "No");
      }
    }
  }

 private:
  const CorpusOptions& options_;
  Random random_;
  TemporaryDirectory directory_;
  std::unique_ptr<data::Dataset> dataset_;
  std::unique_ptr<data::RowSet> rows_;
};

}  // namespace

CorpusReport write_shop_corpus(const CorpusOptions& options,
                               const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  CorpusReport report;
  const auto seed = static_cast<uint64_t>(options.seed);
  AtomicFile prose(directory / "prose.txt");
  for (const std::string& text : shop_prose(options.documents, seed))
    prose.write(text + "\n\n");
  prose.commit();
  report.documents = options.documents;
  AlpacaFile general(directory / "general.json");
  for (const ShopQuestion& question : shop_questions(options.questions, seed))
    general.add("", question.instruction, question.answer);
  general.finish();
  report.questions = options.questions;
  AlpacaFile recommend(directory / "recommend.json");
  Progress progress("corpus", options.shops, "shops");
  for (int64_t shop = 1; shop <= options.shops; ++shop) {
    ShopRows(options, shop).write(recommend, report);
    progress.advance(1);
  }
  recommend.finish();
  return report;
}

}  // namespace llmcf::cot
