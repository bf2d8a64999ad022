#include "serve/first_stage.h"

#include <algorithm>
#include <unordered_map>

#include "core/error.h"

namespace llmcf::serve {

FirstStageOptions FirstStageOptions::from(const Config& config) {
  FirstStageOptions options;
  const Config candidates = config.section("candidates");
  if (const auto file = candidates.get<std::string>("bundle", ""); !file.empty())
    options.candidates = config.directory() / file;
  candidates.finish();
  options.list = ItemListOptions::from(config.section("first_stage"));
  return options;
}

HistoryState state_of(const Deployment& deployment, const Catalogue& catalogue,
                      const KnownHistory& history, int64_t time, ScratchArena& arena,
                      float* attention) {
  const SequenceScorer& scorer = *deployment.sequence();
  const BundleSpec& spec = deployment.spec();
  HistoryState state{.vector = arena.span<float>(scorer.width()), .slots = {}};
  const ExampleSearch* search = deployment.search();
  const bool examples = scorer.reads_examples() && search != nullptr;
  state.slots = Slots::make(1, examples ? spec.retrieval.k : 0, arena);
  if (examples) {
    const int64_t fold = search->fold_of(history.user);
    const auto vector = arena.span<float>(spec.retrieval_width);
    search->history_vector(catalogue, fold, history.rows, vector.data());
    constexpr int32_t kNoTarget = 0;
    search->search(catalogue, fold, vector.data(), {&kNoTarget, 1}, arena, state.slots);
    state.without_examples = std::all_of(state.slots.ids, state.slots.ids + state.slots.k,
                                         [](int32_t id) { return id < 0; });
  }
  scorer.state({.catalogue = catalogue,
                .user = history.user,
                .history = history.rows,
                .slots = &state.slots,
                .time = time,
                .attention = attention},
               arena, state.vector.data());
  return state;
}

Candidates::Candidates(const Bundle& ranking, std::shared_ptr<const Deployment> sequence)
    : sequence_(std::move(sequence)) {
  const Bundle& listed = sequence_->bundle();
  if (sequence_->sequence() == nullptr)
    throw InputError(listed.reader().path().string(), 0,
                     "is no bundle of a sequence backbone, and candidates come from one");
  if (ranking.spec().sequence)
    throw InputError(ranking.reader().path().string(), 0,
                     "is a sequence bundle, which lists its items itself: serve it without "
                     "candidates");
  row_of_.resize(static_cast<size_t>(listed.spec().items) + 1);
  for (int64_t row = 1; row <= listed.spec().items; ++row) {
    const int32_t found = ranking.items().find(listed.items()[row]).value_or(0);
    row_of_[static_cast<size_t>(row)] = found;
    if (found == 0) ++only_listed_;
  }
  only_ranked_ = ranking.spec().items - (listed.spec().items - only_listed_);
}

std::optional<std::vector<int32_t>> Candidates::best(const Catalogue& ranking, const Past& past,
                                                     int64_t time, size_t wanted,
                                                     std::span<const char> hidden,
                                                     ScratchArena& arena) const {
  const auto catalogue = sequence_->catalogue();
  const KnownHistory history = history_of(sequence_->bundle(), *catalogue, past);
  if (history.rows.empty()) return std::nullopt;
  // An item that was added under the name of the ranking bundle's is ranked in its place.
  std::unordered_map<int32_t, int32_t> replaced;
  const auto bundled = static_cast<int32_t>(ranking.bundle().spec().items);
  for (int64_t row = bundled + 1; row < ranking.rows(); ++row)
    if (const auto old = ranking.bundle().items().find(ranking.name(static_cast<int32_t>(row))))
      replaced[*old] = static_cast<int32_t>(row);
  const auto ranked = [&](int32_t listed) {
    const int32_t row = row_of_[static_cast<size_t>(listed)];
    const auto found = replaced.empty() ? replaced.end() : replaced.find(row);
    return found == replaced.end() ? row : found->second;
  };
  std::vector<char> hidden_here(row_of_.size(), 1);
  for (size_t row = 1; row < row_of_.size(); ++row) {
    const int32_t there = ranked(static_cast<int32_t>(row));
    hidden_here[row] = there == 0 || hidden[static_cast<size_t>(there)] != 0 ? 1 : 0;
  }
  const HistoryState state = state_of(*sequence_, *catalogue, history, time, arena);
  std::vector<int32_t> rows =
      sequence_->list()
          ->best(state.vector.data(), static_cast<int64_t>(wanted), hidden_here, arena)
          .rows;
  std::transform(rows.begin(), rows.end(), rows.begin(), ranked);
  return rows;
}

}  // namespace llmcf::serve
