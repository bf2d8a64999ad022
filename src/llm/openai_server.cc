#include "llm/openai_server.h"

#include <algorithm>
#include <bit>
#include <condition_variable>
#include <ctime>
#include <memory>
#include <mutex>
#include <optional>
#include <random>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "core/error.h"
#include "llm/openai_answer.h"

namespace llmcf::llm {

namespace {

using Json = nlohmann::ordered_json;
using net::HttpError;
using net::ServerRequest;
using net::ServerResponse;

constexpr std::chrono::milliseconds kLook{20};  // how often a waiting handler looks for its client

std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// From the engine's worker to a handler: what became of a request's choices.
class Channel {
 public:
  struct Event {
    int64_t choice = 0;
    std::string text = {};
    std::vector<TokenScore> scores = {};
    std::optional<Generation> done = {};
  };

  // The worker's. False: nobody waits any more.
  bool push(Event event) {
    {
      const std::lock_guard lock(guard_);
      if (cancelled_ && !event.done) return false;
      events_.push_back(std::move(event));
    }
    changed_.notify_one();
    return true;
  }
  bool cancelled() const {
    const std::lock_guard lock(guard_);
    return cancelled_;
  }

  // The handler's. What there is, after a short wait if there is nothing.
  std::vector<Event> take() {
    std::unique_lock lock(guard_);
    changed_.wait_for(lock, kLook, [this] { return !events_.empty(); });
    return std::exchange(events_, {});
  }
  void cancel() {
    const std::lock_guard lock(guard_);
    cancelled_ = true;
  }

 private:
  mutable std::mutex guard_;
  std::condition_variable changed_;
  std::vector<Event> events_;
  bool cancelled_ = false;
};

// All choices of one request, running in the engine. Whatever happens to the handler, those that
// run are told to stop and own what they need.
class Choices {
 public:
  Choices(Engine& engine, const OpenAiRequest& request)
      : channel_(std::make_shared<Channel>()), done_(static_cast<size_t>(request.choices())) {
    for (int64_t choice = 0; choice < request.choices(); ++choice)
      submit(engine, request, choice);
  }
  ~Choices() { channel_->cancel(); }
  Choices(const Choices&) = delete;
  Choices& operator=(const Choices&) = delete;

  // Hands every event to `on_event` until all choices are done; false as soon as `on_event` says
  // so or the request is cancelled.
  template <typename OnEvent>
  bool run(const ServerRequest& http, const OnEvent& on_event) {
    for (size_t left = done_.size(); left > 0;) {
      if (*http.cancelled) return false;
      for (Channel::Event& event : channel_->take()) {
        if (!on_event(event)) return false;
        if (!event.done) continue;
        if (event.done->finish == Finish::kCancelled) return false;
        done_[static_cast<size_t>(event.choice)] = std::move(*event.done);
        --left;
      }
    }
    return true;
  }
  const std::vector<Generation>& done() const { return done_; }

 private:
  void submit(Engine& engine, const OpenAiRequest& request, int64_t choice) {
    GenerationRequest generation = request.generation(choice);
    const auto scores = std::make_shared<std::vector<TokenScore>>();
    if (request.stream && generation.log_probabilities >= 0)
      generation.on_score = [scores](const TokenScore& score) { scores->push_back(score); };
    const auto on_done = [channel = channel_, choice, scores](Generation done) {
      channel->push(
          {.choice = choice, .scores = std::exchange(*scores, {}), .done = std::move(done)});
    };
    const bool stream = request.stream;
    const auto on_text = [channel = channel_, choice, scores, stream](std::string_view piece) {
      if (!stream || piece.empty()) return !channel->cancelled();
      return channel->push(
          {.choice = choice, .text = std::string(piece), .scores = std::exchange(*scores, {})});
    };
    try {
      engine.submit(std::move(generation), on_done, on_text);
    } catch (const Error& error) {
      throw HttpError(400, error.what());
    }
  }

  std::shared_ptr<Channel> channel_;
  std::vector<Generation> done_;
};

// Same length and content, in a time that tells only the length.
bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

std::string base64_of(const std::vector<float>& vector) {
  static_assert(std::endian::native == std::endian::little);
  const size_t bytes = vector.size() * sizeof(float);
  std::vector<unsigned char> text(4 * ((bytes + 2) / 3) + 1);  // and a closing zero
  const int length = EVP_EncodeBlock(
      text.data(), reinterpret_cast<const unsigned char*>(vector.data()), static_cast<int>(bytes));
  return {text.begin(), text.begin() + length};
}

class OpenAiApi {
 public:
  OpenAiApi(Engine& engine, const OpenAiOptions& options)
      : engine_(engine), options_(options), created_(static_cast<int64_t>(std::time(nullptr))) {
    if (options_.model.empty()) options_.model = engine.name();
  }

  void authorize(const ServerRequest& request) const {
    if (options_.api_key.empty()) return;
    const std::string given = request.header("authorization").value_or("");
    if (!same_secret(given, "Bearer " + options_.api_key))
      throw HttpError(401, "expected the header 'Authorization: Bearer <the server's key>'", {},
                      {{"WWW-Authenticate", "Bearer"}});
  }

  void complete(const ServerRequest& http, ServerResponse& response, bool chat) {
    const nlohmann::json body = read_body(http.body);
    const auto read = chat ? read_chat : read_completion;
    const OpenAiRequest request =
        read(body, engine_, options_.model, options_.limits, random_seed());
    OpenAiAnswer answer(request, engine_.tokenizer(), options_.model, http.id);
    Choices choices(engine_, request);
    if (request.stream) return stream(http, response, request, answer, choices);
    if (!choices.run(http, [](const Channel::Event&) { return true; }))
      throw HttpError(503, "the request was cancelled");
    response.body = text_of(answer.whole(choices.done()));
  }

  void embed(const ServerRequest& http, ServerResponse& response) {
    const EmbeddingRequest request =
        read_embedding(read_body(http.body), options_.model, options_.limits);
    Json data = Json::array();
    int64_t tokens = 0;
    for (size_t i = 0; i < request.texts.size(); ++i) {
      if (*http.cancelled) throw HttpError(503, "the request was cancelled");
      const std::vector<float> vector = engine_.embed(request.texts[i]);
      tokens += std::min(static_cast<int64_t>(engine_.tokenizer().encode(request.texts[i]).size()),
                         engine_.capacity());
      data.push_back({{"object", "embedding"},
                      {"index", i},
                      {"embedding", request.base64 ? Json(base64_of(vector)) : Json(vector)}});
    }
    response.body = text_of({{"object", "list"},
                             {"data", std::move(data)},
                             {"model", options_.model},
                             {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
  }

  Json model() const {
    return {{"id", options_.model},
            {"object", "model"},
            {"created", created_},
            {"owned_by", "llmcf"},
            {"max_model_len", engine_.capacity()}};
  }
  const std::string& name() const { return options_.model; }

 private:
  void stream(const ServerRequest& http, ServerResponse& response, const OpenAiRequest& request,
              OpenAiAnswer& answer, Choices& choices) {
    const auto send = [&](const Json& json) { return response.write_event(text_of(json)); };
    for (int64_t choice = 0; request.chat && choice < request.choices(); ++choice)
      if (!send(answer.begin(choice))) return;
    const bool complete = choices.run(http, [&](const Channel::Event& event) {
      const bool says = !event.text.empty() || !event.scores.empty();
      if (says && !send(answer.piece(event.choice, event.text, event.scores))) return false;
      return !event.done || event.done->finish == Finish::kCancelled ||
             send(answer.end(event.choice, *event.done));
    });
    if (!complete) throw HttpError(503, "the request was cancelled");  // cuts the stream
    if (request.include_usage && !send(answer.usage(choices.done()))) return;
    response.write_event("[DONE]");
  }

  uint64_t random_seed() {
    const std::lock_guard lock(guard_);
    return random_() >> 1;
  }

  Engine& engine_;
  OpenAiOptions options_;
  const int64_t created_;
  std::mutex guard_;
  std::mt19937_64 random_{std::random_device()()};  // only for requests that name no seed
};

}  // namespace

void serve_openai(net::HttpServer& server, Engine& engine, const OpenAiOptions& options) {
  const auto shared = std::make_shared<OpenAiApi>(engine, options);
  const auto route = [&](const char* method, const char* pattern, auto handler) {
    server.route(method, pattern,
                 [api = shared, handler](const ServerRequest& http, ServerResponse& r) {
                   api->authorize(http);
                   handler(*api, http, r);
                 });
  };
  using Request = const ServerRequest&;
  route("POST", "/v1/completions", [](OpenAiApi& api, Request http, ServerResponse& response) {
    api.complete(http, response, false);
  });
  route("POST", "/v1/chat/completions", [](OpenAiApi& api, Request http, ServerResponse& response) {
    api.complete(http, response, true);
  });
  route("POST", "/v1/embeddings",
        [](OpenAiApi& api, Request http, ServerResponse& response) { api.embed(http, response); });
  route("GET", "/v1/models", [](OpenAiApi& api, Request, ServerResponse& response) {
    response.body = text_of({{"object", "list"}, {"data", {api.model()}}});
  });
  route("GET", "/v1/models/{name}", [](OpenAiApi& api, Request http, ServerResponse& response) {
    if (http.segment != api.name())
      throw HttpError(
          404,
          fmt::format("model '{}' is not here; this server has '{}'", http.segment, api.name()),
          "model");
    response.body = text_of(api.model());
  });
  server.route("GET", "/health", [api = shared, &server](Request, ServerResponse& response) {
    const net::ServerStatistics now = server.statistics();
    response.body = text_of({{"status", "ok"},
                             {"model", api->name()},
                             {"running", now.running},
                             {"waiting", now.waiting}});
  });
}

}  // namespace llmcf::llm
