// Two stages: candidates that a sequence model lists, or that are close to the history, or popular;
// then the model's ranking. A sequence bundle alone ranks what it lists by its own scores.
#include <algorithm>

#include "retrieval/kernels.h"
#include "serve/service_view.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kFirstStage = 1000;  // items that are ranked
constexpr int64_t kMostFirstStage = 100'000;
constexpr size_t kDiversified = 500;  // best items that diversity chooses from

}  // namespace

// By row of the catalogue: what a recommendation must not hold.
std::vector<char> Service::hidden_items(JsonReader& request, const View& view) const {
  const Catalogue& catalogue = *view.catalogue;
  const auto rows = static_cast<size_t>(catalogue.rows());
  std::vector<char> hidden(rows, 0);
  hidden[0] = 1;
  hidden[static_cast<size_t>(view.deployment->unknown_item())] = 1;
  if (request.flag("exclude_seen", true))
    for (const int32_t row : view.history)
      hidden[static_cast<size_t>(row)] = 1;
  const auto mark = [&](const std::vector<std::string>& names, std::vector<char>& out) {
    for (const std::string& name : names)
      if (const auto row = catalogue.find(name)) out[static_cast<size_t>(*row)] = 1;
  };
  if (const auto denied = request.texts("deny", 1 << 20)) mark(*denied, hidden);
  if (const auto allowed = request.texts("allow", 1 << 20)) {
    std::vector<char> keep(rows, 0);
    mark(*allowed, keep);
    for (size_t row = 0; row < rows; ++row)
      if (keep[row] == 0) hidden[row] = 1;
  }
  // An added item hides the bundle's of its name.
  for (int64_t row = view.deployment->spec().items + 2; row < catalogue.rows(); ++row)
    if (const auto old =
            view.deployment->bundle().items().find(catalogue.name(static_cast<int32_t>(row))))
      hidden[static_cast<size_t>(*old)] = 1;
  auto filters = request.object("filters");
  if (!filters) return hidden;
  const auto& fields = view.deployment->spec().fields;
  for (size_t f = 0; f < fields.size(); ++f) {
    if (fields[f].spec.role != models::FieldRole::kItem || fields[f].kind != ValueKind::kColumn)
      continue;
    const auto wanted = filters->texts(fields[f].spec.name, 1 << 16);
    if (!wanted) continue;
    std::vector<int32_t> ids;
    for (const std::string& value : *wanted)
      if (const auto id = view.deployment->bundle().vocabulary(f).find(value)) ids.push_back(*id);
    for (size_t row = 0; row < rows; ++row) {
      const auto values = catalogue.ids_of(f, static_cast<int32_t>(row));
      if (std::find_first_of(values.begin(), values.end(), ids.begin(), ids.end()) == values.end())
        hidden[row] = 1;
    }
  }
  filters->finish();
  return hidden;
}

// The first stage of a click bundle without candidates: the items closest to the history in the
// space that retrieval compares in; the most popular ones where there is no history or no such
// space.
std::vector<int32_t> Service::seeds(const View& view, size_t wanted,
                                    std::span<const char> hidden) const {
  std::vector<int32_t> rows;
  const auto add = [&](int32_t row) {
    if (rows.size() < wanted && hidden[static_cast<size_t>(row)] == 0) rows.push_back(row);
  };
  const ExampleSearch* search = view.deployment->search();
  if (!view.lists_by_similarity()) {
    for (int64_t row = view.deployment->spec().items + 2; row < view.catalogue->rows(); ++row)
      add(static_cast<int32_t>(row));
    for (const int32_t row : view.deployment->popular())
      add(row);
    return rows;
  }
  const int64_t width = view.deployment->spec().retrieval_width;
  const int64_t fold = search->fold_of(view.user);
  std::vector<float> vector(static_cast<size_t>(width));
  search->history_vector(*view.catalogue, fold, view.history, vector.data());
  std::vector<float> close(hidden.size());
  for (size_t row = 0; row < hidden.size(); ++row)
    close[row] =
        hidden[row] != 0
            ? -2
            : retrieval::kernels::dot(
                  vector.data(), view.catalogue->vector(fold, static_cast<int32_t>(row)), width);
  for (const int32_t row : best_first(close, wanted))
    add(row);
  return rows;
}

// Maximal marginal relevance (Carbonell, Goldstein, SIGIR 1998) among the best items: each next one
// has the largest (1 - diversity) score - diversity * similarity to the closest one taken before.
// Returns the places of `candidates` in the order taken.
std::vector<int32_t> Service::diversified(const View& view, const Scored& scored,
                                          std::span<const int32_t> candidates, size_t k,
                                          double diversity) const {
  std::vector<int32_t> left = best_first(scored.logits, std::max(k, kDiversified)), taken;
  const int64_t width = view.deployment->spec().retrieval_width;
  const int64_t fold = view.deployment->search()->fold_of(view.user);
  const auto vector_of = [&](int32_t place) {
    return view.catalogue->vector(fold, candidates[static_cast<size_t>(place)]);
  };
  std::vector<double> closest(candidates.size(), 0);
  while (taken.size() < k && !left.empty()) {
    size_t best = 0;
    double most = -2;
    for (size_t i = 0; i < left.size(); ++i) {
      const auto place = static_cast<size_t>(left[i]);
      const double value =
          (1 - diversity) * probability(scored.logits[place]) - diversity * closest[place];
      if (value > most) most = value, best = i;
    }
    taken.push_back(left[best]);
    left.erase(left.begin() + static_cast<int64_t>(best));
    for (const int32_t place : left) {
      double& similarity = closest[static_cast<size_t>(place)];
      similarity = std::max(similarity, static_cast<double>(retrieval::kernels::dot(
                                            vector_of(taken.back()), vector_of(place), width)));
    }
  }
  return taken;
}

std::string Service::recommend(const Json& body, const std::string& id) {
  return each(body, id, &Service::recommend_one);
}

std::string Service::recommend_one(JsonReader& request, const Arrival& arrival) {
  const View view = view_of(request, arrival);
  const auto k =
      static_cast<size_t>(request.integer("k", 10, 1, static_cast<int64_t>(limits_.candidates)));
  const auto first_stage =
      static_cast<size_t>(request.integer("first_stage", kFirstStage, 1, kMostFirstStage));
  const double diversity = request.number("diversity", 0, 0, 1);
  if (diversity > 0 && view.deployment->search() == nullptr)
    request.fail("diversity", "needs a bundle with retrieval vectors, which this one has none of");
  const std::vector<char> hidden = hidden_items(request, view);
  request.finish();
  arena_of_thread().reset();
  const auto start = std::chrono::steady_clock::now();
  const Listed listed = this->first_stage(view, std::max(first_stage, k), k, hidden);
  const std::vector<int32_t>& candidates = listed.rows;
  metrics_.stage("first_stage", seconds_since(start));
  const Scored scored = listed.scored ? *listed.scored : score(view, candidates, nullptr);
  const std::vector<int32_t> order = diversity > 0
                                         ? diversified(view, scored, candidates, k, diversity)
                                         : best_first(scored.logits, k);
  std::string text = answer(view, scored, candidates, nullptr, order, {}, listed.stage);
  answered(view, scored, candidates, nullptr);
  return text;
}

}  // namespace llmcf::serve
