#include "pipeline/batch.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/strings.h"
#include "pipeline/journey.h"
#include "retrieval/approximate_items.h"
#include "retrieval/item_index.h"
#include "train/sequence_trainer.h"

namespace llmcf::pipeline {

namespace {

constexpr int64_t kJudgedUsers = 2000;  // whose approximate lists are compared with exact ones

// Ids by the names of the input.
class Names {
 public:
  explicit Names(const data::Dataset& dataset) {
    for (int64_t user = 1; user <= dataset.num_users(); ++user)
      users_.emplace(dataset.user_name(user), static_cast<int32_t>(user));
    for (int64_t item = 1; item <= dataset.num_items(); ++item)
      items_.emplace(dataset.item_name(item), static_cast<int32_t>(item));
  }
  int32_t user(std::string_view name, const std::string& file, int64_t line) const {
    return find(users_, "user", name, file, line);
  }
  int32_t item(std::string_view name, const std::string& file, int64_t line) const {
    return find(items_, "item", name, file, line);
  }

 private:
  using Ids = std::unordered_map<std::string_view, int32_t>;
  static int32_t find(const Ids& ids, const char* what, std::string_view name,
                      const std::string& file, int64_t line) {
    const auto found = ids.find(name);
    if (found == ids.end())
      throw InputError(file, line,
                       fmt::format("{} '{}' is not in the data set; import it first, or leave the "
                                   "line out",
                                   what, name));
    return found->second;
  }
  Ids users_, items_;
};

// Lines of a text file with their numbers; a trailing carriage return is not part of one.
std::vector<std::pair<int64_t, std::string>> lines_of(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  std::vector<std::pair<int64_t, std::string>> lines;
  int64_t number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) lines.emplace_back(number, line);
  }
  return lines;
}

struct Pair {
  int32_t user = 0;
  int32_t item = 0;
};

std::vector<Pair> read_pairs(const std::filesystem::path& path, const Names& names) {
  const auto lines = lines_of(path);
  const std::string file = path.string();
  if (lines.empty()) throw InputError(file, 0, "is empty; expected a header: user<TAB>item");
  const auto header = split(lines.front().second, '\t');
  const auto column = [&](std::string_view name) {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end())
      throw InputError(file, lines.front().first,
                       fmt::format("the header has no column '{}'; expected user<TAB>item", name));
    return static_cast<size_t>(found - header.begin());
  };
  const size_t user = column("user"), item = column("item");
  std::vector<Pair> pairs;
  for (size_t index = 1; index < lines.size(); ++index) {
    const auto& [number, line] = lines[index];
    const auto fields = split(line, '\t');
    if (fields.size() != header.size())
      throw InputError(file, number,
                       fmt::format("has {} fields, the header {}", fields.size(), header.size()));
    pairs.push_back(
        {names.user(fields[user], file, number), names.item(fields[item], file, number)});
  }
  return pairs;
}

class BatchJourney final : public Journey {
 public:
  BatchJourney(const RunConfig& config, const BatchOptions& options)
      : Journey(config, {}, Access::kAlone), options_(options) {
    run_ = choose(options.variant, options.seed);
    variant_ = run_.variant;
    seed_ = run_.seed;
    if (variant_->model.context == models::ContextKind::kKar)
      throw Error(
          fmt::format("variant '{}' reads reasoning about users at prefixes of their "
                      "histories, which a batch does not have",
                      variant_->name));
  }

  int64_t score(const std::filesystem::path& file) {
    make_current(run_);
    const std::vector<Pair> pairs = read_pairs(file, Names(dataset()));
    std::vector<float> scores;
    if (!pairs.empty()) {
      ask(pairs);
      scores = task_ == Task::kClicks ? click_probabilities() : products(pairs);
    }
    std::string text = json() ? "" : "user\titem\tscore\n";
    for (size_t row = 0; row < pairs.size(); ++row) {
      const auto user = dataset().user_name(pairs[row].user);
      const auto item = dataset().item_name(pairs[row].item);
      text += json()
                  ? nlohmann::ordered_json{{"user", user}, {"item", item}, {"score", scores[row]}}
                            .dump() +
                        "\n"
                  : fmt::format("{}\t{}\t{:.6g}\n", user, item, scores[row]);
    }
    write_file(options_.out, text);
    return static_cast<int64_t>(pairs.size());
  }

  Recommended recommend(const RecommendOptions& what) {
    if (task_ == Task::kClicks)
      throw Error(
          "recommend needs a sequence backbone (sasrec, gru4rec, srgnn, youtubednn): this "
          "run's models score pairs; see `llmcf score`");
    make_current(run_);
    std::vector<Pair> users;
    if (what.users.empty()) {
      for (int64_t user = 1; user <= dataset().num_users(); ++user)
        users.push_back({static_cast<int32_t>(user), 1});
    } else {
      const Names names(dataset());
      for (const auto& [number, line] : lines_of(what.users))
        users.push_back({names.user(line, what.users.string(), number), 1});
    }
    if (users.empty()) throw InputError(what.users.string(), 0, "names no user");
    ask(users);
    const train::SequenceVectors vectors = sequence_vectors();
    const retrieval::ItemIndex index(vectors.items, vectors.width);
    const retrieval::SeenItems seen = [&](int64_t query) {
      const int32_t user = users[static_cast<size_t>(query)].user;
      return rows().history(user, rows().history_length(user));
    };
    const retrieval::SeenItems hidden = what.keep_seen ? retrieval::SeenItems() : seen;
    Recommended result{.users = static_cast<int64_t>(users.size())};
    if (!what.approximate) {
      write_file(options_.out, text_of(users, index.best(vectors.states, what.k, hidden)));
      return result;
    }
    const retrieval::ApproximateItems lists(index, {.probes = what.probes});
    const retrieval::BestItems best = lists.best(vectors.states, what.k, hidden);
    result.judged = std::min(result.users, kJudgedUsers);
    const auto judged =
        std::span(vectors.states).first(static_cast<size_t>(result.judged * vectors.width));
    result.recall =
        retrieval::recall(index.best(judged, what.k, hidden), best.first(result.judged));
    write_file(options_.out, text_of(users, best));
    return result;
  }

 private:
  bool json() const { return options_.out.extension() == ".jsonl"; }

  // The pairs become the test split of rows of their own, with the examples of their histories.
  void ask(const std::vector<Pair>& pairs) {
    // The first moment that is later than the log: every example is older, and as old as it is
    // then.
    int64_t now = 0;
    for (const int64_t time : dataset().event_time())
      now = std::max(now, time);
    ++now;
    std::vector<data::QueryRow> queries;
    for (const Pair& pair : pairs)
      queries.push_back({.user = pair.user,
                         .item = pair.item,
                         .position = rows().history_length(pair.user),
                         .time = now});
    const auto file = directory_.path() / "rows.safetensors";
    data::write_query_rows(dataset(), workspace().rows(), queries, file);
    asked_ = std::make_unique<data::RowSet>(file);
    std::vector<retrieval::Assignment> unused;
    inputs_ = feature_inputs(unused);
    inputs_.rows = asked_.get();
    inputs_.slots = {};
    inputs_.teacher_logits = {};
    if (models::uses_retrieval(variant_->model)) {
      const std::vector<retrieval::Queries> parts = {
          retrieval::Queries::of(asked_->rows(data::Split::kTest))};
      slots_ = retrieval::assign_by_fold(pool_of(examples()), parts, item_vectors(),
                                         retrieval::histories_of(rows()), retrieval_options_);
      inputs_.slots[static_cast<size_t>(data::Split::kTest)] =
          train::SlotColumns::of(slots_.front());
    }
    inputs_ = train::inputs_for(variant_->model, inputs_);
  }

  std::vector<float> click_probabilities() {
    const train::FeatureStore features(inputs_, variant_->features);
    std::vector<float> scores = train::predict(task_of(*variant_, seed_, features), variant_->train,
                                               best_weights(run_), data::Split::kTest);
    for (float& score : scores)
      score = 1 / (1 + std::exp(-score));
    return scores;
  }

  train::SequenceVectors sequence_vectors() {
    const train::SequenceStore sequences(inputs_, variant_->features);
    train::SequenceTask task;
    describe(*variant_, seed_, task);
    task.sequences = &sequences;
    return train::sequence_vectors(task, variant_->train, best_weights(run_), data::Split::kTest);
  }

  std::vector<float> products(const std::vector<Pair>& pairs) {
    const train::SequenceVectors vectors = sequence_vectors();
    const auto D = static_cast<size_t>(vectors.width);
    std::vector<float> scores;
    for (size_t row = 0; row < pairs.size(); ++row) {
      float sum = 0;
      for (size_t d = 0; d < D; ++d)
        sum += vectors.states[row * D + d] *
               vectors.items[static_cast<size_t>(pairs[row].item) * D + d];
      scores.push_back(sum);
    }
    return scores;
  }

  std::string text_of(const std::vector<Pair>& users, const retrieval::BestItems& best) {
    std::string text = json() ? "" : "user\trank\titem\tscore\n";
    for (size_t row = 0; row < users.size(); ++row) {
      const auto user = dataset().user_name(users[row].user);
      nlohmann::ordered_json line = {
          {"user", user}, {"items", nlohmann::json::array()}, {"scores", nlohmann::json::array()}};
      for (int64_t rank = 0; rank < best.k; ++rank) {
        const auto at = row * static_cast<size_t>(best.k) + static_cast<size_t>(rank);
        if (best.items[at] == 0) break;  // the catalogue is used up
        const auto item = dataset().item_name(best.items[at]);
        if (json()) {
          line["items"].push_back(item);
          line["scores"].push_back(best.scores[at]);
        } else {
          text += fmt::format("{}\t{}\t{}\t{:.6g}\n", user, rank + 1, item, best.scores[at]);
        }
      }
      if (json()) text += line.dump() + "\n";
    }
    return text;
  }

  const BatchOptions& options_;
  ChosenRun run_;
  const ReadVariant* variant_ = nullptr;
  int64_t seed_ = 0;
  TemporaryDirectory directory_;
  std::unique_ptr<data::RowSet> asked_;
  std::vector<retrieval::Assignment> slots_;
  train::FeatureInputs inputs_;
};

}  // namespace

int64_t score_pairs(const RunConfig& config, const std::filesystem::path& pairs,
                    const BatchOptions& options) {
  return BatchJourney(config, options).score(pairs);
}

Recommended recommend(const RunConfig& config, const RecommendOptions& what,
                      const BatchOptions& options) {
  return BatchJourney(config, options).recommend(what);
}

}  // namespace llmcf::pipeline
