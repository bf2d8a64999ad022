#include "llm/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::llm {

namespace {

// Logits to log probabilities, in place.
void log_softmax(std::span<float> row) {
  const float largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float value : row)
    sum += std::exp(static_cast<double>(value) - largest);
  const double log_sum = largest + std::log(sum);
  for (float& value : row)
    value = static_cast<float>(value - log_sum);
}

}  // namespace

BeamSearch::BeamSearch(const GenerationRequest& request, const text::LanguageTokenizer& tokenizer,
                       const std::vector<int32_t>& end_ids, int64_t most_tokens)
    : request_(request),
      tokenizer_(tokenizer),
      end_ids_(end_ids),
      most_tokens_(std::min(most_tokens, request.max_tokens)),
      random_(request.seed, fmt::format("beams {}", request.sample)),
      beams_(1) {}

// What may follow a beam. `row` holds log probabilities and is changed.
std::vector<BeamSearch::Candidate> BeamSearch::options_of(const Beam& beam, int32_t index,
                                                          std::span<float> row) const {
  const SamplingOptions& sampling = request_.sampling;
  if (sampling.repetition_penalty != 1) {
    std::vector<int32_t> seen = request_.prompt;
    seen.insert(seen.end(), beam.ids.begin(), beam.ids.end());
    penalise(row, seen, sampling.repetition_penalty);
  }
  const auto width = static_cast<int64_t>(row.size());
  const bool samples = sampling.temperature > 0;
  if (samples)
    for (float& value : row)
      value = static_cast<float>(value / sampling.temperature);
  int64_t kept = samples ? width : std::min(2 * request_.beams, width);
  if (samples && sampling.top_k > 0) kept = std::min(std::max<int64_t>(sampling.top_k, 2), width);
  std::vector<Candidate> options;
  const auto add = [&](int32_t id) {
    const float value = row[static_cast<size_t>(id)];
    if (std::isfinite(value)) options.push_back({index, id, beam.score + value});
  };
  if (kept == width && sampling.top_p == 1) {
    for (int32_t id = 0; id < width; ++id)
      add(id);
    return options;
  }
  const auto likely = most_likely(row, kept);
  double total = 0, running = 0;
  for (const auto& [id, log_probability] : likely)
    total += std::exp(static_cast<double>(log_probability));
  for (const auto& [id, log_probability] : likely) {
    const bool enough = samples && options.size() >= 2 && running >= sampling.top_p * total;
    if (enough) break;
    add(id);
    running += std::exp(static_cast<double>(log_probability));
  }
  return options;
}

// 2 * beams of them, best first.
std::vector<BeamSearch::Candidate> BeamSearch::choose(std::vector<Candidate> options) {
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.beam != b.beam ? a.beam < b.beam : a.token < b.token;
  };
  const auto wanted = std::min(static_cast<size_t>(2 * request_.beams), options.size());
  std::vector<Candidate> chosen;
  if (request_.sampling.temperature > 0) {
    double largest = -std::numeric_limits<double>::infinity();
    for (const Candidate& option : options)
      largest = std::max(largest, option.score);
    std::vector<double> weights;
    double left = 0;
    for (const Candidate& option : options) {
      weights.push_back(std::exp(option.score - largest));
      left += weights.back();
    }
    // What is left of the sum by subtraction is no proof that a weight is left: below a rounding
    // error of the whole, the rest is taken by score.
    const double nothing = left * 1e-13;
    while (chosen.size() < wanted && left > nothing) {
      const size_t drawn = random_.weighted(weights);
      if (weights[drawn] == 0) break;  // rounding
      chosen.push_back(options[drawn]);
      left -= weights[drawn];
      weights[drawn] = 0;
      options[drawn].score = -std::numeric_limits<double>::infinity();
    }
  }
  std::sort(options.begin(), options.end(), better);
  for (size_t i = 0; chosen.size() < wanted; ++i)
    chosen.push_back(options[i]);
  std::sort(chosen.begin(), chosen.end(), better);
  return chosen;
}

BeamSearch::Beam BeamSearch::extended(const Beam& beam, int32_t token,
                                      std::span<const float> own) const {
  Beam next = beam;
  next.ids.push_back(token);
  if (token < tokenizer_.size()) next.text += tokenizer_.bytes(token);
  if (request_.log_probabilities >= 0)
    next.scores.push_back(
        {token, log_probability(own, token), most_likely(own, request_.log_probabilities)});
  return next;
}

void BeamSearch::keep(Result result) {
  const auto place = std::find_if(results_.begin(), results_.end(),
                                  [&](const Result& other) { return other.rank < result.rank; });
  results_.insert(place, std::move(result));
  if (static_cast<int64_t>(results_.size()) > request_.beams) results_.pop_back();
}

std::vector<BeamSearch::Extension> BeamSearch::advance(
    const std::vector<std::span<float>>& logits) {
  LLMCF_ASSERT(!over_ && logits.size() == beams_.size());
  const bool scored = request_.log_probabilities >= 0;
  std::vector<std::vector<float>> own;  // as the model said it
  std::vector<Candidate> options;
  for (size_t b = 0; b < beams_.size(); ++b) {
    if (scored) own.emplace_back(logits[b].begin(), logits[b].end());
    log_softmax(logits[b]);
    const auto more = options_of(beams_[b], static_cast<int32_t>(b), logits[b]);
    options.insert(options.end(), more.begin(), more.end());
  }
  if (tokens_ == 0 && request_.log_probabilities > 0)
    for (const auto& [id, odds] : most_likely(own[0], request_.log_probabilities))
      verdicts_.emplace_back(id < tokenizer_.size() ? tokenizer_.bytes(id) : "", odds);
  ++tokens_;
  const std::vector<Candidate> chosen = choose(std::move(options));
  const auto length = static_cast<double>(tokens_);
  std::vector<Beam> next;
  std::vector<Extension> extensions;
  for (size_t rank = 0; rank < chosen.size(); ++rank) {
    const Candidate& candidate = chosen[rank];
    const Beam& beam = beams_[static_cast<size_t>(candidate.beam)];
    Result result{.beam = {}, .rank = candidate.score / length};
    if (ends(beam, candidate, result)) {
      if (static_cast<int64_t>(rank) < request_.beams) keep(std::move(result));
      continue;
    }
    if (static_cast<int64_t>(next.size()) == request_.beams) continue;
    next.push_back(extended(beam, candidate.token,
                            scored
                                ? std::span<const float>(own[static_cast<size_t>(candidate.beam)])
                                : std::span<const float>()));
    next.back().score = candidate.score;
    extensions.push_back({candidate.beam, candidate.token});
  }
  const bool full = static_cast<int64_t>(results_.size()) >= request_.beams;
  const bool settled = full && results_.back().rank >= chosen.front().score / length;
  over_ = settled || next.empty() || tokens_ >= most_tokens_;
  if (!over_) {
    // Too few go on (a tiny vocabulary): the last one stands in for the rest and can never win.
    while (static_cast<int64_t>(next.size()) < request_.beams) {
      next.push_back(next.back());
      next.back().score = -1e9;
      extensions.push_back(extensions.back());
    }
    beams_ = std::move(next);
    return extensions;
  }
  if (!settled)
    for (Beam& beam : next) {
      const double rank = beam.score / length;
      keep({std::move(beam), Finish::kLength, rank});
    }
  return {};
}

// Whether the candidate ends its text: by an end token, or because the text holds a stop string.
bool BeamSearch::ends(const Beam& beam, const Candidate& candidate, Result& result) const {
  if (std::find(end_ids_.begin(), end_ids_.end(), candidate.token) != end_ids_.end()) {
    result.beam = beam;
    result.finish = Finish::kEnd;
    return true;
  }
  if (request_.stop.empty() || candidate.token >= tokenizer_.size()) return false;
  std::string text = beam.text + tokenizer_.bytes(candidate.token);
  size_t first = std::string::npos;
  for (const std::string& stop : request_.stop)
    first = std::min(first, text.find(stop));
  if (first == std::string::npos) return false;
  result.beam = beam;
  result.beam.ids.push_back(candidate.token);
  text.resize(first);
  result.beam.text = std::move(text);
  result.finish = Finish::kStop;
  return true;
}

std::vector<Generation> BeamSearch::results() {
  std::vector<Generation> found;
  for (Result& result : results_) {
    if (static_cast<int64_t>(found.size()) == request_.returned) break;
    found.push_back(
        {.ids = std::move(result.beam.ids),
         .text = std::move(result.beam.text),
         .finish = result.finish,
         .scores = std::move(result.beam.scores),
         .verdicts = verdicts_,
         .prompt_tokens = found.empty() ? static_cast<int64_t>(request_.prompt.size()) : 0});
  }
  return found;
}

}  // namespace llmcf::llm
