#include "pipeline/local_reasoner.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "core/strings.h"
#include "cot/chat_answer.h"
#include "llm/engine.h"
#include "text/unicode.h"

namespace llmcf::pipeline {

namespace {

constexpr int64_t kDraws = 4;  // of one candidate, until it says something
constexpr int64_t kJudgedTokens =
    20;  // alternatives of the first token that a verdict is read from

struct LocalOptions {
  llm::EngineOptions engine;
  llm::SamplingOptions sampling;
  int64_t max_tokens = 256;
  int64_t beams = 1;

  static LocalOptions from(const Config& section) {
    LocalOptions options;
    options.engine.model = section.directory() / section.require<std::string>("model");
    if (const auto adapter = section.get<std::string>("adapter", ""); !adapter.empty())
      options.engine.adapter = section.directory() / adapter;
    options.engine.device = section.get<std::string>("device", "auto");
    options.engine.dtype = section.get<std::string>("dtype", "auto");
    options.engine.chat = section.get<std::string>("chat", "auto");
    options.engine.slots = section.get_int("slots", 16, 1, 4096);
    options.engine.capacity = section.get_int("capacity", 0, 0, 1 << 20);
    // The published generation: sampling at .6 among the 50 most likely tokens.
    options.sampling = {
        .repetition_penalty = section.get_number("repetition_penalty", 1, 0.01, 100),
        .temperature = section.get_number("temperature", 0.6, 0, 100),
        .top_k = section.get_int("top_k", 50, 0, 1 << 20),
        .top_p = section.get_number("top_p", 1, 0.0001, 1)};
    options.max_tokens = section.get_int("max_tokens", 256, 1, 1 << 20);
    options.beams = section.get_int("beams", 1, 1, 256);
    if (options.beams > options.engine.slots)
      section.fail("beams", fmt::format("{} beams need as many slots, there are {}; set 'slots'",
                                        options.beams, options.engine.slots));
    section.finish();
    return options;
  }
};

class LocalReasoner final : public cot::Reasoner {
 public:
  explicit LocalReasoner(LocalOptions options)
      : options_(std::move(options)), identity_(llm::model_identity(options_.engine)) {}

  std::string kind() const override { return "local"; }
  std::string model() const override {
    const auto& engine = options_.engine;
    std::string name = engine.model.lexically_normal().filename().string();
    if (!engine.adapter.empty())
      name += "+" + engine.adapter.lexically_normal().filename().string();
    return name;
  }
  std::string settings() const override {
    const llm::SamplingOptions& s = options_.sampling;
    return fmt::format(
        "{} temperature={} top_k={} top_p={} repetition_penalty={} max_tokens={} "
        "capacity={}{}",
        identity_, s.temperature, s.top_k, s.top_p, s.repetition_penalty, options_.max_tokens,
        options_.engine.capacity,
        options_.beams > 1 ? fmt::format(" beams={}", options_.beams) : "");
  }
  std::string judging_settings() const override { return identity_; }
  bool judges() const override { return true; }
  bool waits() const override { return true; }

  cot::ReasonOutcome attempt(const cot::ReasonRequest& request,
                             const std::atomic<bool>* cancelled) const override {
    const auto start = std::chrono::steady_clock::now();
    cot::ReasonOutcome outcome;
    llm::Engine& engine = loaded();
    const std::vector<int32_t> prompt =
        engine.prompt(llm::question(request.prompt.system, request.prompt.user));
    const bool teach = request.kind == cot::JobKind::kTeach;
    const auto ask = [&](int64_t candidate, int64_t sample) {
      return engine.generate(generation_of(request, prompt, candidate, sample), [cancelled](auto) {
        return cancelled == nullptr || !cancelled->load();
      });
    };
    const int64_t each = teach ? 1 : options_.beams;  // candidates of one generation
    std::vector<std::future<llm::Generation>> answers;
    try {
      for (int64_t i = 0; i < (teach ? 1 : request.candidates); i += each)
        answers.push_back(ask(i, 0));
    } catch (const Error& error) {
      outcome.status = cot::ReasonOutcome::Status::kRefused;
      outcome.reason = "too_long";
      outcome.detail = error.what();
      return outcome;
    }
    for (size_t i = 0; i < answers.size(); ++i) {
      const llm::Generation found = answers[i].get();
      for (size_t rank = 0; rank <= found.others.size(); ++rank) {
        bool usable = read(request, of_rank(found, rank), outcome);
        // An empty answer is drawn anew, from a stream of its own.
        for (int64_t sample = 1; !usable && !teach && sample < kDraws; ++sample) {
          const auto again = ask(static_cast<int64_t>(i) * each, sample).get();
          usable = read(request, of_rank(again, std::min(rank, again.others.size())), outcome);
        }
      }
    }
    if (outcome.answers.empty()) {  // the same seeds would say the same nothing again
      outcome.status = cot::ReasonOutcome::Status::kRefused;
      outcome.reason = "no_answer";
      outcome.detail = "the model ended without a word";
    } else {
      outcome.reason = "ok";
    }
    outcome.latency_ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    return outcome;
  }

 private:
  llm::Engine& loaded() const {
    std::call_once(once_, [this] {
      engine_ = std::make_unique<llm::Engine>(options_.engine);
      log::info("local model {} is loaded", engine_->name());
    });
    return *engine_;
  }

  llm::GenerationRequest generation_of(const cot::ReasonRequest& request,
                                       const std::vector<int32_t>& prompt, int64_t candidate,
                                       int64_t sample) const {
    const bool teach = request.kind == cot::JobKind::kTeach;
    llm::GenerationRequest generation{.prompt = prompt,
                                      .sampling = options_.sampling,
                                      .max_tokens = teach ? 1 : options_.max_tokens,
                                      .stop = {}};
    if (teach) generation.sampling = {.temperature = 0};
    if (teach) generation.log_probabilities = kJudgedTokens;
    if (!teach) generation.beams = options_.beams;
    if (!teach) generation.returned = std::min(options_.beams, request.candidates - candidate);
    // A candidate's stream does not depend on how many are asked at once.
    generation.seed = request.seed + static_cast<uint64_t>(candidate);
    generation.sample = sample;
    return generation;
  }

  static const llm::Generation& of_rank(const llm::Generation& found, size_t rank) {
    return rank == 0 ? found : found.others[rank - 1];
  }

  // False if there was nothing to take.
  static bool read(const cot::ReasonRequest& request, const llm::Generation& generation,
                   cot::ReasonOutcome& outcome) {
    outcome.usage.prompt_tokens += generation.prompt_tokens;
    outcome.usage.completion_tokens += static_cast<int64_t>(generation.ids.size());
    if (generation.finish == llm::Finish::kCancelled) return false;
    cot::ReasonAnswer answer{.text = cot::without_thinking(text::replace_invalid(generation.text)),
                             .finish_reason = llm::finish_name(generation.finish)};
    answer.usage = {.prompt_tokens = generation.prompt_tokens,
                    .completion_tokens = static_cast<int64_t>(generation.ids.size())};
    if (request.kind == cot::JobKind::kTeach) {
      std::vector<cot::TokenOdds> odds;
      for (const auto& [text, probability] : generation.verdicts)
        odds.push_back({text, probability});
      answer.verdict = cot::read_verdict(odds);
    }
    if (answer.text.empty() && !answer.verdict) return false;
    outcome.answers.push_back(std::move(answer));
    return true;
  }

  LocalOptions options_;
  std::string identity_;
  mutable std::once_flag once_;
  mutable std::unique_ptr<llm::Engine> engine_;
};

}  // namespace

std::unique_ptr<cot::Reasoner> make_reasoner(const Config& reason) {
  return cot::make_reasoner(reason, [](const Config& section) -> std::unique_ptr<cot::Reasoner> {
    return std::make_unique<LocalReasoner>(LocalOptions::from(section));
  });
}

}  // namespace llmcf::pipeline
