// Requests to /v1/chat/completions and what each kind of answer means.
#include "cot/endpoint_reasoner.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/strings.h"
#include "cot/chat_answer.h"
#include "net/retry.h"
#include "net/sse.h"

namespace llmcf::cot {

namespace {

using Json = nlohmann::json;
using Status = ReasonOutcome::Status;

// So many answers of a server that has told none before prove that it tells none.
constexpr int64_t kAnswersWithoutOdds = 3;

// More tokens than any tokenizer in use makes of it: a token per 2 ASCII characters and one per
// other byte, and what the chat format adds.
int64_t token_bound(const RenderedPrompt& prompt) {
  int64_t ascii = 0;
  int64_t other = 0;
  for (const std::string* text : {&prompt.system, &prompt.user})
    for (const char c : *text)
      ++((static_cast<unsigned char>(c) & 0x80) == 0 ? ascii : other);
  return ascii / 2 + other + 64;
}

std::string request_body(const EndpointOptions& options, const ReasonRequest& request, int64_t n,
                         bool stream) {
  Json body = {{"model", options.model},
               {"messages",
                {{{"role", "system"}, {"content", request.prompt.system}},
                 {{"role", "user"}, {"content", request.prompt.user}}}}};
  if (request.kind == JobKind::kTeach) {  // the probabilities of one token, nothing drawn
    body["temperature"] = 0;
    body[options.max_tokens_name] = 1;
    body["logprobs"] = true;
    body["top_logprobs"] = options.top_logprobs;
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  body["temperature"] = options.temperature;
  body["top_p"] = options.top_p;
  body[options.max_tokens_name] = options.max_tokens;
  if (options.top_k > 0) body["top_k"] = options.top_k;
  if (n > 1) body["n"] = n;
  // Not every server reads more than 31 bits.
  if (options.send_seed) body["seed"] = request.seed & 0x7FFFFFFF;
  if (stream) {
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
  }
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The first words of an error page, on one line.
std::string excerpt(const std::string& body) {
  std::string text = body.substr(0, 300);
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return std::string(trim(text));
}

std::string transport_word(net::TransportError::Kind kind) {
  switch (kind) {
    case net::TransportError::Kind::kConnect:
      return "no_connection";
    case net::TransportError::Kind::kTimeout:
      return "timeout";
    case net::TransportError::Kind::kDropped:
      return "dropped";
    case net::TransportError::Kind::kTooLarge:
      return "too_large";
    case net::TransportError::Kind::kCancelled:
      return "cancelled";
    case net::TransportError::Kind::kRefused:
      break;
  }
  return "refused";
}

// Each answer's share of what the request used.
void share_usage(const Usage& usage, std::vector<ReasonAnswer>& answers) {
  const auto count = static_cast<int64_t>(answers.size());
  for (int64_t index = 0; index < count; ++index) {
    const auto part = [&](int64_t total) {
      return total / count + (index < total % count ? 1 : 0);
    };
    answers[static_cast<size_t>(index)].usage = {.prompt_tokens = part(usage.prompt_tokens),
                                                 .completion_tokens = part(usage.completion_tokens),
                                                 .money = usage.money / static_cast<double>(count),
                                                 .estimated = usage.estimated};
  }
}

}  // namespace

EndpointOptions EndpointOptions::from(const Config& section) {
  EndpointOptions options;
  options.url = section.require<std::string>("url");
  options.model = section.require<std::string>("model");
  options.api_key_env = section.get<std::string>("api_key_env", "");
  if (section.has("api_key")) {
    section.fail("api_key",
                 "a token does not belong into a file; put it into an environment variable and "
                 "name that with api_key_env");
  }
  options.stream = section.get<bool>("stream", options.stream);
  options.send_n = section.get<bool>("send_n", options.send_n);
  options.send_seed = section.get<bool>("send_seed", options.send_seed);
  options.timeout = std::chrono::milliseconds(
      section.get_int("timeout_ms", options.timeout.count(), 1, 24 * 3600 * 1000));
  options.temperature = section.get_number("temperature", options.temperature, 0, 10);
  options.top_p = section.get_number("top_p", options.top_p, 0, 1);
  options.top_k = section.get_int("top_k", options.top_k, 0, 1'000'000);
  options.max_tokens = section.get_int("max_tokens", options.max_tokens, 1, 1'000'000);
  options.max_tokens_name = section.get_choice("max_tokens_name", options.max_tokens_name,
                                               {"max_tokens", "max_completion_tokens"});
  options.logprobs = section.get<bool>("logprobs", options.logprobs);
  options.top_logprobs = section.get_int("top_logprobs", options.top_logprobs, 2, 100);
  for (const Config& entry : section.list("prices")) {
    options.prices.push_back({.model = entry.require<std::string>("model"),
                              .prompt = entry.get_number("prompt", 0, 0, 1e6),
                              .completion = entry.get_number("completion", 0, 0, 1e6)});
    entry.finish();
  }
  section.finish();
  return options;
}

EndpointReasoner::EndpointReasoner(EndpointOptions options)
    : options_(std::move(options)), client_(std::make_unique<net::HttpClient>()) {
  for (const Price& price : options_.prices)
    if (price.model == options_.model) price_ = price;
}

EndpointReasoner::~EndpointReasoner() = default;

std::string EndpointReasoner::settings() const {
  return fmt::format("temperature={} top_p={} top_k={} max_tokens={}", options_.temperature,
                     options_.top_p, options_.top_k, options_.max_tokens);
}

std::string EndpointReasoner::judging_settings() const {
  return fmt::format("top_logprobs={}", options_.top_logprobs);
}

int64_t EndpointReasoner::max_tokens(const ReasonRequest& request) const {
  return request.kind == JobKind::kTeach ? 1 : options_.max_tokens;
}

std::string EndpointReasoner::address() const {
  return net::shown_url(options_.url);
}

bool EndpointReasoner::is_local() const {
  return net::is_loopback(options_.url);
}

Usage EndpointReasoner::priced(Usage usage) const {
  if (price_) {
    usage.money = (static_cast<double>(usage.prompt_tokens) * price_->prompt +
                   static_cast<double>(usage.completion_tokens) * price_->completion) /
                  1e6;
  }
  return usage;
}

int64_t EndpointReasoner::requests_for(int64_t candidates) const {
  return options_.send_n ? 1 : candidates;
}

Usage EndpointReasoner::bound(const ReasonRequest& request) const {
  const int64_t n = options_.send_n ? request.candidates : 1;
  return priced({.prompt_tokens = token_bound(request.prompt),
                 .completion_tokens = max_tokens(request) * n,
                 .money = 0,
                 .estimated = true});
}

Usage EndpointReasoner::expected(const ReasonRequest& request) const {
  const int64_t prompt =
      approximate_tokens(request.prompt.system) + approximate_tokens(request.prompt.user);
  return priced({.prompt_tokens = prompt * requests_for(request.candidates),
                 .completion_tokens = max_tokens(request) * request.candidates,
                 .money = 0,
                 .estimated = true});
}

ReasonOutcome EndpointReasoner::attempt(const ReasonRequest& request,
                                        const std::atomic<bool>* cancelled) const {
  const int64_t n = options_.send_n ? request.candidates : 1;
  const bool stream = options_.stream && request.kind != JobKind::kTeach;
  const net::HttpRequest http{.method = "POST",
                              .url = net::join_url(options_.url, "chat/completions"),
                              .headers = {{"Content-Type", "application/json"}},
                              .body = request_body(options_, request, n, stream),
                              .timeout = options_.timeout,
                              .token_env = options_.api_key_env,
                              .cancelled = cancelled};
  const auto start = std::chrono::steady_clock::now();
  ReasonOutcome outcome;
  try {
    ChatAnswer answer;
    net::HttpResponse response;
    bool whole = false;
    if (stream) {
      net::SseParser parser([&](const net::SseEvent& event) { answer.read_event(event.data); });
      response = client_->stream(http, [&](std::string_view piece) {
        parser.feed(piece);
        return answer.why().empty();
      });
      parser.finish();
      whole = response.ok() && answer.finish_stream(parser.done());
    } else {
      response = client_->send(http);
      whole = response.ok() && answer.read(response.body);
    }
    if (!response.ok())
      read_refusal(response, outcome);
    else if (whole)
      read_answer(answer, request, n, outcome);
    else
      fail_charged(answer.why(), request, outcome);
  } catch (const net::TransportError& error) {
    if (error.kind() == net::TransportError::Kind::kRefused) throw;
    fail_charged(transport_word(error.kind()), request, outcome);
    outcome.detail = error.what();
    if (error.kind() == net::TransportError::Kind::kConnect) outcome.usage = {};
    if (error.kind() == net::TransportError::Kind::kTooLarge) outcome.status = Status::kRefused;
  }
  outcome.latency_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

// No usable answer to a request that the server may have worked on: it counts in full.
void EndpointReasoner::fail_charged(const std::string& reason, const ReasonRequest& request,
                                    ReasonOutcome& outcome) const {
  outcome.status = Status::kRetry;
  outcome.reason = reason;
  outcome.usage = bound(request);
}

void EndpointReasoner::read_refusal(const net::HttpResponse& response,
                                    ReasonOutcome& outcome) const {
  outcome.reason = std::to_string(response.status);
  outcome.detail = fmt::format("status {}: {}", response.status, excerpt(response.body));
  if (net::RetryPolicy::retryable(response.status)) {
    outcome.status = Status::kRetry;
    outcome.retry_after = net::retry_after(response, net::Clock::system());
    return;
  }
  // These concern the request; whatever else comes (401, 404, a redirect) concerns all of them.
  if (response.status == 400 || response.status == 413 || response.status == 422) {
    outcome.status = Status::kRefused;
    return;
  }
  throw Error(fmt::format(
      "{}: {}; check url, model and {}", address(), outcome.detail,
      options_.api_key_env.empty() ? "api_key_env (none is set)" : options_.api_key_env));
}

void EndpointReasoner::read_answer(ChatAnswer& answer, const ReasonRequest& request, int64_t n,
                                   ReasonOutcome& outcome) const {
  const std::optional<ChatUsage> told = answer.usage();
  std::vector<ChatChoice> choices = answer.take_choices();
  if (static_cast<int64_t>(choices.size()) > n) choices.resize(static_cast<size_t>(n));
  if (choices.empty()) {
    fail_charged("no_text", request, outcome);
    return;
  }
  Usage usage;
  for (const ChatChoice& choice : choices) {
    usage.completion_tokens += approximate_tokens(choice.text);
    outcome.answers.push_back({.text = without_thinking(choice.text),
                               .finish_reason = choice.finish_reason,
                               .usage = {},
                               .verdict = read_verdict(choice.first_token)});
  }
  if (told) {
    usage = {.prompt_tokens = told->prompt_tokens,
             .completion_tokens = told->completion_tokens,
             .money = 0,
             .estimated = false};
  } else {
    usage.prompt_tokens =
        approximate_tokens(request.prompt.system) + approximate_tokens(request.prompt.user);
    usage.estimated = true;
  }
  outcome.status = Status::kAnswered;
  outcome.reason = "ok";
  outcome.usage = priced(usage);
  const bool is_knowledge = request.kind == JobKind::kUser || request.kind == JobKind::kItem;
  if (is_knowledge && outcome.answers[0].text.empty()) {  // a model that never stopped thinking
    outcome.answers.clear();
    outcome.status = Status::kRefused;
    outcome.reason = "empty_text";
    return;
  }
  if (request.kind == JobKind::kTeach && !has_odds(choices[0], request, outcome)) return;
  share_usage(outcome.usage, outcome.answers);
}

// An end of text as the first token has none, also where the server supports them.
bool EndpointReasoner::has_odds(const ChatChoice& choice, const ReasonRequest& request,
                                ReasonOutcome& outcome) const {
  if (!choice.first_token.empty()) {
    has_told_odds_ = true;
    return true;
  }
  outcome.answers.clear();
  outcome.reason = "no_logprobs";
  outcome.detail =
      "the answer has no log-probabilities (choices[0].logprobs.content[0].top_logprobs)";
  outcome.status = Status::kRefused;
  const bool told = request.judged_before || has_told_odds_;
  if (!told && ++answers_without_odds_ >= kAnswersWithoutOdds) {
    outcome.status = Status::kHopeless;
    outcome.detail = fmt::format(
        "{}: {}; a server without them cannot teach: set reason.endpoint.logprobs to "
        "false",
        address(), outcome.detail);
  }
  return false;
}

}  // namespace llmcf::cot
