#include "pipeline/annotate.h"

#include <algorithm>
#include <ctime>
#include <istream>
#include <ostream>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ostream.h>

#include "core/random.h"
#include "core/strings.h"
#include "pipeline/report/format.h"
#include "pipeline/report/grid.h"

namespace llmcf::pipeline {

namespace {

constexpr size_t kStrata = 5;
constexpr int64_t kShownHistory = 10;

// Every filled slot, by similarity, in strata of equal size, each shuffled.
std::vector<std::vector<RetrievedPair>> strata_of(const retrieval::Assignment& assignment,
                                                  Random& random) {
  std::vector<RetrievedPair> pairs;
  for (int64_t row = 0; row < assignment.rows; ++row) {
    const auto ids = assignment.ids_of(row);
    const auto similarity = assignment.similarity_of(row);
    for (size_t slot = 0; slot < ids.size(); ++slot) {
      if (ids[slot] >= 0) pairs.push_back({row, ids[slot], similarity[slot]});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(), [](const auto& left, const auto& right) {
    return left.similarity < right.similarity;
  });
  std::vector<std::vector<RetrievedPair>> strata;
  for (size_t stratum = 0; stratum < kStrata; ++stratum) {
    const auto at = [&](size_t part) {
      return pairs.begin() + static_cast<std::ptrdiff_t>(pairs.size() * part / kStrata);
    };
    strata.emplace_back(at(stratum), at(stratum + 1));
    random.shuffle(strata.back());
  }
  return strata;
}

using PairName = std::pair<RowName, RowName>;

Annotation annotation_of(const Retrieved& retrieved, const RetrievedPair& pair,
                         const std::string& annotator) {
  const data::Rows& rows = retrieved.queries();
  const cot::ExampleSet& examples = retrieved.examples;
  const auto row = static_cast<size_t>(pair.row);
  const auto example = static_cast<size_t>(pair.example);
  const auto name = [&](int32_t user, int32_t position, int32_t item, int64_t time) {
    return RowName{.user = std::string(retrieved.dataset.user_name(user)),
                   .position = position,
                   .item = std::string(retrieved.dataset.item_name(item)),
                   .time = time};
  };
  return {.annotator = annotator,
          .split = std::string(data::split_name(retrieved.split)),
          .query = name(rows.user[row], rows.position[row], rows.item[row], rows.time[row]),
          .example = name(examples.user()[example], examples.position()[example],
                          examples.item()[example], examples.time()[example]),
          .similarity = pair.similarity,
          .grade = {},
          .time = std::time(nullptr)};
}

std::string title_of(const Retrieved& retrieved, int32_t item) {
  return without_control(std::string(retrieved.dataset.item_title(item)));
}

std::string history_text(const Retrieved& retrieved, int32_t user, int32_t position) {
  const auto items = retrieved.rows.history(user, position);
  const auto count = static_cast<int64_t>(items.size());
  std::string text;
  for (int64_t at = std::max<int64_t>(0, count - kShownHistory); at < count; ++at)
    text += fmt::format("    - {}\n", title_of(retrieved, items[static_cast<size_t>(at)]));
  if (count > kShownHistory) text = fmt::format("    ({} earlier)\n", count - kShownHistory) + text;
  return text.empty() ? "    (nothing)\n" : text;
}

std::string pair_text(const Retrieved& retrieved, const RetrievedPair& pair) {
  const data::Rows& rows = retrieved.queries();
  const cot::ExampleSet& examples = retrieved.examples;
  const auto row = static_cast<size_t>(pair.row);
  const auto example = static_cast<size_t>(pair.example);
  return fmt::format(
      "QUERY\n  history, oldest first:\n{}  target: {}\nEXAMPLE\n  history, oldest first:\n{}  "
      "target: {} ({})\n  chain of thought: {}\n",
      history_text(retrieved, rows.user[row], rows.position[row]),
      title_of(retrieved, rows.item[row]),
      history_text(retrieved, examples.user()[example], examples.position()[example]),
      title_of(retrieved, examples.item()[example]),
      examples.label()[example] > 0.5F ? "taken" : "not taken",
      without_control(std::string(examples.text(pair.example))));
}

// '0', '1', '2', 's' or 'q'; also 'q' when the input ends.
char ask(std::istream& in, std::ostream& out) {
  std::string line;
  while (true) {
    fmt::print(out,
               "Does the example help to judge the query? 2 relevant, 1 partly, 0 not, s skip, q "
               "quit: ");
    out.flush();
    if (!std::getline(in, line)) {
      fmt::print(out, "\n");
      return 'q';
    }
    const std::string answer = to_lower(trim(line));
    if (answer.size() == 1 && std::string_view("012sq").find(answer[0]) != std::string_view::npos)
      return answer[0];
    fmt::print(out, "Please answer 2, 1, 0, s or q.\n");
  }
}

}  // namespace

std::vector<RetrievedPair> sample_pairs(const retrieval::Assignment& assignment, int64_t count,
                                        int64_t seed) {
  Random random(static_cast<uint64_t>(seed), "pipeline.annotate");
  const auto strata = strata_of(assignment, random);
  std::vector<RetrievedPair> fresh, again;  // pairs of rows not met before, and the others
  std::set<int64_t> met;
  const size_t longest = strata.back().size();
  for (size_t round = 0; round < longest && static_cast<int64_t>(fresh.size()) < count; ++round) {
    std::vector<RetrievedPair> drawn;
    for (const auto& stratum : strata) {
      if (round < stratum.size()) drawn.push_back(stratum[round]);
    }
    random.shuffle(drawn);
    for (const RetrievedPair& pair : drawn)
      (met.insert(pair.row).second ? fresh : again).push_back(pair);
  }
  fresh.insert(fresh.end(), again.begin(), again.end());
  if (static_cast<int64_t>(fresh.size()) > count) fresh.resize(static_cast<size_t>(count));
  return fresh;
}

std::vector<SessionEntry> annotate(const Retrieved& retrieved, const std::filesystem::path& path,
                                   const AnnotateOptions& options, std::istream& in,
                                   std::ostream& out) {
  std::set<PairName> judged;
  for (const Annotation& annotation : read_annotations(path)) {
    if (annotation.annotator == options.annotator)
      judged.emplace(annotation.query, annotation.example);
  }
  const auto pairs = sample_pairs(retrieved.assignment, options.sample, options.seed);
  std::vector<SessionEntry> session;
  for (size_t index = 0; index < pairs.size(); ++index) {
    Annotation annotation = annotation_of(retrieved, pairs[index], options.annotator);
    if (judged.contains({annotation.query, annotation.example})) continue;
    fmt::print(out, "\nPair {} of {}\n{}", index + 1, pairs.size(),
               pair_text(retrieved, pairs[index]));
    const char answer = ask(in, out);
    if (answer == 'q') break;
    if (answer != 's') annotation.grade = answer - '0';
    append_annotation(path, annotation);
    judged.emplace(annotation.query, annotation.example);
    const auto& rows = retrieved.queries();
    session.push_back(
        {std::move(annotation),
         title_of(retrieved, rows.item[static_cast<size_t>(pairs[index].row)]),
         title_of(retrieved,
                  retrieved.examples.item()[static_cast<size_t>(pairs[index].example)])});
  }
  return session;
}

std::string session_text(const std::vector<SessionEntry>& session) {
  if (session.empty()) return {};
  Grid grid =
      Grid::with_header({"target of the query", "grade", "similarity", "target of the example"});
  grid.left.back() = true;
  for (const SessionEntry& entry : session) {
    const auto& grade = entry.annotation.grade;
    grid.rows.push_back({entry.query, grade ? fmt::format("{}", *grade) : "skipped",
                         number_text(entry.annotation.similarity, 3), entry.example});
  }
  return grid_text(grid);
}

}  // namespace llmcf::pipeline
