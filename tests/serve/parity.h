// Scores the whole test split of a finished run from its published bundle, with the examples that
// the run's retrieve stage chose: what training measured and what serving computes, side by side.
#pragma once

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "data/dataset.h"
#include "data/rows.h"
#include "retrieval/assign.h"
#include "serve/scorer/scorer.h"

namespace llmcf::serve {

struct Parity {
  int64_t rows = 0;
  double largest = 0;  // difference of two logits
  double spread = 0;   // standard deviation of the training model's logits: no vacuous comparison
};

// The context features of an event, as a request would give them.
inline std::vector<ContextValue> context_of(const data::Dataset& dataset, const BundleSpec& spec,
                                            int64_t event) {
  std::vector<ContextValue> values(spec.fields.size());
  for (size_t f = 0; f < values.size(); ++f) {
    if (spec.fields[f].spec.role != models::FieldRole::kContext) continue;
    const data::FieldColumn& column = *dataset.find_field(spec.fields[f].spec.name);
    const auto at = static_cast<size_t>(event);
    values[f].given = true;
    if (!column.values.empty()) values[f].number = column.values[at];
    if (!column.offsets.empty())
      values[f].ids =
          column.ids.subspan(static_cast<size_t>(column.offsets[at]),
                             static_cast<size_t>(column.offsets[at + 1] - column.offsets[at]));
  }
  return values;
}

// `workspace` is the run's, `scores` its test_scores.safetensors.
inline Parity compare_test_split(const std::filesystem::path& bundle_file,
                                 const std::filesystem::path& workspace,
                                 const std::filesystem::path& scores) {
  const auto bundle = std::make_shared<const Bundle>(bundle_file);
  const Scorer scorer(bundle);
  const Catalogue catalogue(bundle);
  const data::Dataset dataset(workspace / "data" / "dataset.safetensors");
  const data::RowSet row_set(workspace / "data" / "rows.safetensors");
  const data::Rows& rows = row_set.rows(data::Split::kTest);
  retrieval::Assignment assignment;
  if (bundle->spec().context.uses_retrieval())
    assignment = retrieval::Assignment::load(workspace / "retrieval" / "test.safetensors");
  // The test rows' own texts about their users, where the model reads them.
  std::optional<SafetensorsReader> texts;
  if (bundle->spec().context.kind == "kar")
    texts.emplace(workspace / "cot" / "knowledge.safetensors");
  const SafetensorsReader reader(scores);
  const std::span<const float> expected = reader.get<float>("logit", {rows.size()});

  Parity parity{.rows = rows.size()};
  ScratchArena arena;
  double sum = 0, squares = 0;
  for (int64_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    const auto at = static_cast<size_t>(begin);
    for (end = begin; end < rows.size(); ++end) {
      const auto next = static_cast<size_t>(end);
      if (rows.user[next] != rows.user[at] || rows.position[next] != rows.position[at] ||
          rows.time[next] != rows.time[at] || rows.event[next] != rows.event[at])
        break;
    }
    arena.reset();
    const int64_t count = end - begin, k = assignment.k;
    Slots slots = Slots::make(count, k, arena);
    if (assignment.rows > 0) {
      const auto copy = [&](const auto& from, auto* to) {
        std::copy_n(from.begin() + begin * k, count * k, to);
      };
      copy(assignment.similarity, slots.similarity);
      copy(assignment.history_similarity, slots.history_similarity);
      copy(assignment.target_similarity, slots.target_similarity);
      copy(assignment.ids, slots.ids);
      std::copy_n(assignment.alignment.begin() + begin, count, slots.alignment);
    }
    const auto history = row_set.history(rows.user[at], rows.position[at]);
    const auto context = context_of(dataset, bundle->spec(), rows.event[at]);
    const float* kar = texts ? texts->get<float>("user_vectors").data() +
                                   texts->get<int32_t>("user_row.test", {rows.size()})[at] *
                                       texts->tensor("user_vectors").shape[1]
                             : nullptr;
    std::vector<float> logits(static_cast<size_t>(count));
    scorer.score(
        {.catalogue = catalogue,
         .sample = {.user = rows.user[at],
                    .history = history.last(std::min(
                        history.size(), static_cast<size_t>(bundle->spec().history_length))),
                    .context = context,
                    .kar = kar},
         .candidates = rows.item.subspan(at, static_cast<size_t>(count)),
         .slots = &slots,
         .time = rows.time[at]},
        arena, logits);
    for (int64_t i = 0; i < count; ++i) {
      const double wanted = expected[at + static_cast<size_t>(i)];
      parity.largest = std::max(parity.largest, std::abs(logits[static_cast<size_t>(i)] - wanted));
      sum += wanted;
      squares += wanted * wanted;
    }
  }
  const auto n = static_cast<double>(parity.rows);
  parity.spread = std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n)));
  return parity;
}

}  // namespace llmcf::serve
