// A reasoner writes what is known about a row, a user or an item: a chain of thought that explains
// a known decision, preferences read from a history, an item's facts; or it judges a row. All
// reasoners fill the same pool; what they need around them (retries, budget, ledger, storing) is
// generate.h's.
//
// Thread safety: attempt() is const and may run on several threads at once.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "cot/facts.h"
#include "cot/parts.h"
#include "cot/pool.h"
#include "cot/prompt.h"

namespace llmcf::cot {

struct ReasonRequest {
  RenderedPrompt prompt;   // what language models read
  Facts facts;             // what the template reads
  int64_t candidates = 1;  // answers wanted; fewer may come (the caller asks again)
  uint64_t seed = 0;       // of the first candidate
  JobKind kind = JobKind::kRow;
  Parts parts{};  // of a chain of thought
  // Of kind kTeach: some row has been judged by this source, so an answer that cannot be read says
  // nothing about the others.
  bool judged_before = false;
};

struct ReasonAnswer {
  std::string text{};
  std::string finish_reason{};     // "stop", "length", ...; "" if unknown
  Usage usage{};                   // its share of the request's
  std::optional<YesNo> verdict{};  // of kind kTeach, if the answer was Yes or No
};

// What one attempt led to.
struct ReasonOutcome {
  enum class Status {
    kAnswered,  // 1 to `candidates` answers
    kRetry,     // the same request may work later: 429, 5xx, timeout, drop, broken JSON
    kRefused,   // this request will not work, another may: 400, 413, 422
    kHopeless,  // it was answered and costs, and no other will work: generation stops with `detail`
  };
  Status status = Status::kAnswered;
  std::vector<ReasonAnswer> answers;
  std::string reason;  // a short word for the ledger: "429", "timeout", "broken_json"; "ok"
  std::string detail;  // for people; never holds the token
  std::optional<std::chrono::milliseconds> retry_after;
  Usage usage;
  double latency_ms = 0;
};

class Reasoner {
 public:
  virtual ~Reasoner() = default;

  virtual std::string kind() const = 0;   // "template", "endpoint", "local"
  virtual std::string model() const = 0;  // shown wherever its texts are shown
  // Whether answers are computed from the facts, without a language model.
  bool is_computed() const { return kind() == "template" || kind() == "shop_expert"; }
  // Changes whenever answers would, the prompt apart.
  virtual std::string settings() const = 0;
  // The same for verdicts.
  virtual std::string judging_settings() const { return settings(); }
  // Where prompts are sent, without credentials; empty if they do not leave the process.
  virtual std::string address() const { return ""; }
  // Whether an attempt waits for more than its own thread (a server, a model that others ask as
  // well): then `concurrency` are asked at once, each with its line in the ledger.
  virtual bool waits() const { return !address().empty(); }
  // Whether the address can only be this machine. True if there is none.
  virtual bool is_local() const { return true; }
  // The most one attempt at this request can cost. Zero if it is free.
  virtual Usage bound(const ReasonRequest& request) const;
  // What it will probably cost, for estimates.
  virtual Usage expected(const ReasonRequest& request) const { return bound(request); }
  // How many requests it takes to get so many candidates.
  virtual int64_t requests_for(int64_t candidates) const {
    (void)candidates;
    return 1;
  }
  // Whether it tells how probable Yes and No are (kind kTeach).
  virtual bool judges() const { return false; }
  // False if money cannot be computed because no price is known.
  virtual bool has_price() const { return true; }

  // One attempt, no waiting. Throws Error if no request can work (wrong address or token, unknown
  // model): generation stops.
  virtual ReasonOutcome attempt(const ReasonRequest& request,
                                const std::atomic<bool>* cancelled) const = 0;
};

// Key `kind` of the reason section: template (default), shop_expert, endpoint, or local; its
// settings are in the section of the same name. `local` makes the last (it needs libtorch, which
// this room does not); without it that kind is refused. Throws InputError for an unknown kind or
// key.
using MakeLocal = std::function<std::unique_ptr<Reasoner>(const Config& section)>;
std::unique_ptr<Reasoner> make_reasoner(const Config& reason, const MakeLocal& local = {});

// About 4 characters of Latin script are one token. An approximation: every model has its own.
int64_t approximate_tokens(std::string_view text);

}  // namespace llmcf::cot
