#include "serve/request_window.h"

#include <limits>

#include "core/error.h"

namespace llmcf::serve {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// The mean over requests of a share of each.
struct MeanShare {
  double sum = 0;
  int64_t count = 0;

  void add(int64_t part, int64_t whole) {
    if (whole == 0) return;
    sum += static_cast<double>(part) / static_cast<double>(whole);
    ++count;
  }
  double value() const { return count == 0 ? kNone : sum / static_cast<double>(count); }
};

}  // namespace

std::string_view fallback_name(Fallback fallback) {
  switch (fallback) {
    case Fallback::kNoExamples:
      return "no_examples";
    case Fallback::kNoHistory:
      return "no_history";
    case Fallback::kUnknownCandidates:
      return "unknown_candidates";
    case Fallback::kNoUserText:
      return "no_user_text";
    case Fallback::kOlderUserText:
      return "older_user_text";
  }
  throw Error("fallback_name: unknown fallback");
}

RequestWindow::RequestWindow(size_t length, std::optional<RetrievalProfile> reference)
    : length_(length), reference_(std::move(reference)) {
  LLMCF_ASSERT(length >= 1);
}

void RequestWindow::add(const RequestRecord& record) {
  const std::lock_guard lock(guard_);
  if (records_.size() < length_) {
    records_.push_back(record);
    return;
  }
  records_[next_] = record;
  next_ = (next_ + 1) % length_;
}

WindowFigures RequestWindow::figures() const {
  const std::lock_guard lock(guard_);
  WindowFigures figures{.requests = static_cast<int64_t>(records_.size())};
  SimilarityCounts seen{};
  MeanShare with_examples, complete, filled;
  for (const RequestRecord& record : records_) {
    const RetrievalProfile& found = record.retrieval;
    for (size_t bucket = 0; found.with_examples > 0 && bucket < seen.size(); ++bucket)
      seen[bucket] += found.best[bucket] / static_cast<double>(found.with_examples);
    // Where no example is wanted (K = 0), none is missing.
    if (found.slots > 0) {
      with_examples.add(found.with_examples, found.rows);
      complete.add(found.complete, found.rows);
      filled.add(found.filled, found.slots);
    }
    for (int reason = 0; reason < kFallbacks; ++reason)
      if (record.has(static_cast<Fallback>(reason)))
        figures.fallbacks[static_cast<size_t>(reason)] += 1;
  }
  for (double& share : figures.fallbacks)
    share = records_.empty() ? kNone : share / static_cast<double>(records_.size());
  figures.with_examples = with_examples.value();
  figures.complete = complete.value();
  figures.filled = filled.value();
  figures.population_stability = reference_ ? population_stability(reference_->best, seen) : kNone;
  figures.kolmogorov_smirnov = reference_ ? kolmogorov_smirnov(reference_->best, seen) : kNone;
  return figures;
}

}  // namespace llmcf::serve
