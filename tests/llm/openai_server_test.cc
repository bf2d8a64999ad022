// OpenAI's interface over a toy engine: the same answers as the engine's own, streams that add up
// to them, errors that name the field, clients that leave.
#include "llm/openai_server.h"

#include <chrono>
#include <cstring>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"
#include "llm/toy_directory.h"
#include "net/http_client.h"
#include "net/raw_socket.h"
#include "net/sse.h"
#include "text/unicode.h"

namespace llmcf::llm {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class OpenAiServer : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    testing::write_toy_directory(directory_->path() / "toy");
    engine_ = new Engine({.model = directory_->path() / "toy", .device = "cpu", .slots = 4});
  }
  static void TearDownTestSuite() {
    delete engine_;
    delete directory_;
  }
  void SetUp() override { start(); }
  void start(const OpenAiOptions& options = {}) {
    server_ = std::make_unique<net::HttpServer>(net::ServerOptions{.workers = 8});
    serve_openai(*server_, *engine_, options);
    server_->start();
  }
  net::HttpRequest request(const std::string& path, const Json& body) const {
    net::HttpRequest request{.method = "POST", .url = server_->url() + path};
    request.body = body.dump();
    return request;
  }
  net::HttpResponse post(const std::string& path, const Json& body) {
    return client_.send(request(path, body));
  }
  Json answer(const std::string& path, const Json& body) {
    const net::HttpResponse response = post(path, body);
    EXPECT_EQ(response.status, 200) << response.body;
    return Json::parse(response.body);
  }
  std::vector<Json> chunks(const std::string& path, Json body) {
    body["stream"] = true;
    std::vector<Json> found;
    net::SseParser parser(
        [&](const net::SseEvent& event) { found.push_back(Json::parse(event.data)); });
    const auto response = client_.stream(request(path, body), [&](std::string_view piece) {
      parser.feed(piece);
      return true;
    });
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_TRUE(parser.done());
    return found;
  }
  // What the engine says itself.
  Generation own(const std::vector<int32_t>& prompt, GenerationRequest settings) {
    settings.prompt = prompt;
    return engine_->generate(std::move(settings)).get();
  }

  static TemporaryDirectory* directory_;
  static Engine* engine_;
  net::HttpClient client_;
  std::unique_ptr<net::HttpServer> server_;
};
TemporaryDirectory* OpenAiServer::directory_ = nullptr;
Engine* OpenAiServer::engine_ = nullptr;

const Json kChat = {{"model", "toy"},
                    {"messages", {{{"role", "user"}, {"content", "red shoes?"}}}},
                    {"max_tokens", 12},
                    {"seed", 5}};

TEST_F(OpenAiServer, ChatSaysWhatTheEngineSays) {
  Json body = kChat;
  body["n"] = 3;
  body["top_k"] = 40;
  body["top_p"] = 0.9;
  body["temperature"] = 0.8;
  body["repetition_penalty"] = 1.1;
  const Json found = answer("/v1/chat/completions", body);
  EXPECT_EQ(found["object"], "chat.completion");
  EXPECT_EQ(found["model"], "toy");
  ASSERT_EQ(found["choices"].size(), 3U);
  const auto prompt = engine_->prompt({{Role::kUser, "red shoes?"}});
  int64_t tokens = 0;
  for (uint64_t i = 0; i < 3; ++i) {
    GenerationRequest settings{.prompt = {}, .max_tokens = 12, .seed = 5 + i};
    settings.sampling = {.repetition_penalty = 1.1, .temperature = 0.8, .top_k = 40, .top_p = 0.9};
    const Generation want = own(prompt, settings);
    const Json& choice = found["choices"][i];
    EXPECT_EQ(choice["index"], i);
    EXPECT_EQ(choice["message"]["role"], "assistant");
    EXPECT_EQ(choice["message"]["content"], text::replace_invalid(want.text));
    EXPECT_EQ(choice["finish_reason"], finish_name(want.finish));
    EXPECT_EQ(choice["logprobs"], Json());
    tokens += static_cast<int64_t>(want.ids.size());
  }
  EXPECT_EQ(found["usage"]["prompt_tokens"], prompt.size());
  EXPECT_EQ(found["usage"]["completion_tokens"], tokens);
  EXPECT_EQ(found["usage"]["total_tokens"], tokens + static_cast<int64_t>(prompt.size()));
}

TEST_F(OpenAiServer, SystemMessagesAndPartsBecomeTheSamePrompt) {
  Json body = kChat;
  body["temperature"] = 0;
  body["messages"] = {
      {{"role", "system"}, {"content", "be brief"}},
      {{"role", "user"}, {"content", "a"}},
      {{"role", "assistant"}, {"content", "b"}},
      {{"role", "user"},
       {"content", {{{"type", "text"}, {"text", "red "}}, {{"type", "text"}, {"text", "shoes"}}}}}};
  GenerationRequest settings{.prompt = {}, .max_tokens = 12};
  settings.sampling.temperature = 0;
  const Generation want = own(engine_->prompt({{Role::kSystem, "be brief"},
                                               {Role::kUser, "a"},
                                               {Role::kAssistant, "b"},
                                               {Role::kUser, "red shoes"}}),
                              settings);
  EXPECT_EQ(answer("/v1/chat/completions", body)["choices"][0]["message"]["content"],
            text::replace_invalid(want.text));
}

TEST_F(OpenAiServer, CompletionsTakeTextsAndTokens) {
  GenerationRequest settings{.prompt = {}, .max_tokens = 9};
  settings.sampling.temperature = 0;
  std::vector<std::string> want;
  for (const char* text : {"one", "two two"})
    want.push_back(text::replace_invalid(own(engine_->raw_prompt(text), settings).text));
  const Json options = {{"model", "toy"}, {"max_tokens", 9}, {"temperature", 0}};
  Json body = options;
  body["prompt"] = {"one", "two two"};
  body["n"] = 2;
  const Json found = answer("/v1/completions", body);
  EXPECT_EQ(found["object"], "text_completion");
  ASSERT_EQ(found["choices"].size(), 4U);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(found["choices"][i]["index"], i);
    EXPECT_EQ(found["choices"][i]["text"], want[i / 2]);
  }
  EXPECT_EQ(found["usage"]["prompt_tokens"], 4 + 8);
  body = options;
  body["prompt"] = engine_->raw_prompt("one");
  EXPECT_EQ(answer("/v1/completions", body)["choices"][0]["text"], want[0]);
  body["prompt"] = {engine_->raw_prompt("two two"), engine_->raw_prompt("one")};
  EXPECT_EQ(answer("/v1/completions", body)["choices"][1]["text"], want[0]);
}

TEST_F(OpenAiServer, StreamsAddUpToTheWholeAnswer) {
  for (const char* path : {"/v1/chat/completions", "/v1/completions"}) {
    const bool chat = std::strstr(path, "chat") != nullptr;
    Json body = {{"model", "toy"}, {"max_tokens", 20}, {"seed", 9}, {"n", 2}};
    if (chat) {
      body["messages"] = kChat["messages"];
      body["logprobs"] = true;
      body["top_logprobs"] = 2;
    } else {
      body["prompt"] = "red";
      body["logprobs"] = 2;
    }
    const Json whole = answer(path, body);
    body["stream_options"] = {{"include_usage", true}};
    std::vector<std::string> texts(2), finish(2);
    std::vector<Json> scores(2, Json::array());
    Json usage;
    for (const Json& chunk : chunks(path, [&] {
           body["stream"] = true;
           return body;
         }())) {
      EXPECT_EQ(chunk["object"], chat ? "chat.completion.chunk" : "text_completion");
      if (chunk["choices"].empty()) {
        usage = chunk["usage"];
        continue;
      }
      EXPECT_TRUE(chunk["usage"].is_null());
      const Json& choice = chunk["choices"][0];
      const size_t i = choice["index"];
      if (chat) {
        texts[i] += choice["delta"].value("content", "");
      } else {
        texts[i] += choice["text"];
      }
      if (choice["finish_reason"].is_string()) finish[i] = choice["finish_reason"];
      if (choice["logprobs"].is_null()) continue;
      for (const Json& one : choice["logprobs"][chat ? "content" : "tokens"])
        scores[i].push_back(one);
    }
    EXPECT_EQ(usage, whole["usage"]);
    for (size_t i = 0; i < 2; ++i) {
      const Json& choice = whole["choices"][i];
      EXPECT_EQ(texts[i], chat ? choice["message"]["content"] : choice["text"]);
      EXPECT_EQ(finish[i], choice["finish_reason"]);
      EXPECT_EQ(scores[i], choice["logprobs"][chat ? "content" : "tokens"]);
      EXPECT_FALSE(scores[i].empty());
    }
  }
}

TEST_F(OpenAiServer, LogProbabilitiesAreTheEngines) {
  GenerationRequest settings{.prompt = {}, .max_tokens = 4, .log_probabilities = 3};
  settings.sampling.temperature = 0;
  const Generation want = own(engine_->prompt({{Role::kUser, "red shoes?"}}), settings);
  Json body = kChat;
  body["temperature"] = 0;
  body["max_tokens"] = 4;
  body["logprobs"] = true;
  body["top_logprobs"] = 3;
  const Json content = answer("/v1/chat/completions", body)["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), want.scores.size());
  ASSERT_FALSE(content.empty());
  for (size_t t = 0; t < content.size(); ++t) {
    EXPECT_FLOAT_EQ(content[t]["logprob"].get<float>(), want.scores[t].log_probability);
    ASSERT_EQ(content[t]["top_logprobs"].size(), 3U);
    const std::string bytes = engine_->tokenizer().bytes(want.scores[t].id);
    ASSERT_EQ(content[t]["bytes"].size(), bytes.size());
    EXPECT_EQ(content[t]["bytes"][0], static_cast<unsigned char>(bytes[0]));
    for (size_t a = 0; a < 3; ++a)
      EXPECT_FLOAT_EQ(content[t]["top_logprobs"][a]["logprob"].get<float>(),
                      want.scores[t].alternatives[a].second);
  }
}

TEST_F(OpenAiServer, StopTextsEndAnAnswer) {
  GenerationRequest settings{.prompt = {}, .max_tokens = 30};
  settings.sampling.temperature = 0;
  const Generation want = own(engine_->raw_prompt("abc"), settings);
  ASSERT_GT(want.text.size(), 4U);
  // A stop text must be valid UTF-8 to travel as JSON.
  size_t at = 1;
  while (at < want.text.size() && static_cast<unsigned char>(want.text[at]) >= 0x80)
    ++at;
  ASSERT_LT(at, want.text.size());
  const std::string stop(1, want.text[at]);
  const Json found = answer("/v1/completions", {{"prompt", "abc"},
                                                {"max_tokens", 30},
                                                {"temperature", 0},
                                                {"stop", {"no such text", stop}}});
  const std::string text = found["choices"][0]["text"];
  EXPECT_EQ(text, text::replace_invalid(want.text.substr(0, want.text.find(stop))));
  EXPECT_EQ(found["choices"][0]["finish_reason"], "stop");
}

TEST_F(OpenAiServer, EmbedsTexts) {
  const Json found = answer("/v1/embeddings", {{"model", "toy"}, {"input", {"red shoes", "hat"}}});
  ASSERT_EQ(found["data"].size(), 2U);
  EXPECT_EQ(found["data"][0]["embedding"].get<std::vector<float>>(), engine_->embed("red shoes"));
  EXPECT_EQ(found["data"][1]["index"], 1);
  EXPECT_EQ(found["usage"]["prompt_tokens"], 12);
  const Json coded = answer("/v1/embeddings", {{"input", "hat"}, {"encoding_format", "base64"}});
  // 32 float32 are 128 bytes: 172 characters.
  EXPECT_EQ(coded["data"][0]["embedding"].get<std::string>().size(), 172U);
}

TEST_F(OpenAiServer, ListsItsModel) {
  const auto get = [&](const std::string& path) {
    return client_.send({.url = server_->url() + path});
  };
  const Json list = Json::parse(get("/v1/models").body);
  ASSERT_EQ(list["data"].size(), 1U);
  EXPECT_EQ(list["data"][0]["id"], "toy");
  EXPECT_EQ(list["data"][0]["max_model_len"], 96);
  EXPECT_EQ(Json::parse(get("/v1/models/toy").body), list["data"][0]);
  EXPECT_EQ(get("/v1/models/other").status, 404);
  EXPECT_EQ(Json::parse(get("/health").body)["status"], "ok");
}

TEST_F(OpenAiServer, ErrorsNameTheField) {
  const auto fails = [&](const char* path, const Json& change, int status, const Json& field,
                         const std::string& part) {
    Json body = kChat;
    if (std::strstr(path, "chat") == nullptr) body = {{"model", "toy"}, {"prompt", "x"}};
    if (std::strstr(path, "embed") != nullptr) body = {{"model", "toy"}, {"input", "x"}};
    body.update(change);
    const net::HttpResponse response = post(path, body);
    EXPECT_EQ(response.status, status) << change;
    const Json error = Json::parse(response.body)["error"];
    EXPECT_EQ(error["param"], field) << change;
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(part)) << change;
  };
  const char* chat = "/v1/chat/completions";
  const char* plain = "/v1/completions";
  const char* embeddings = "/v1/embeddings";
  fails(chat, {{"model", "gpt-4"}}, 404, "model", "this server has 'toy'");
  fails(chat, {{"temperature", -1}}, 400, "temperature", "-1");
  fails(chat, {{"temperature", "hot"}}, 400, "temperature", "expected a number");
  fails(chat, {{"top_p", 0}}, 400, "top_p", "0");
  fails(chat, {{"n", 0}}, 400, "n", "expected 1 to 128");
  fails(chat, {{"n", 1000000}}, 400, "n", "expected 1 to 128");
  fails(chat, {{"n", 1.5}}, 400, "n", "expected an integer");
  fails(chat, {{"max_tokens", 0}}, 400, "max_tokens", "0");
  fails(chat, {{"seed", 1e30}}, 400, "seed", "expected an integer");
  fails(chat, {{"seed", UINT64_MAX}}, 400, "seed", "expected an integer");
  fails(chat, {{"stop", ""}}, 400, "stop", "not empty");
  fails(chat, {{"stop", {"a", 3}}}, 400, "stop", "a list");
  fails(chat, {{"stream", "yes"}}, 400, "stream", "expected a boolean");
  fails(chat, {{"stream_options", {{"include_usage", true}}}}, 400, "stream_options", "stream");
  fails(chat, {{"top_logprobs", 3}}, 400, "top_logprobs", "logprobs");
  fails(chat, {{"logprobs", true}, {"top_logprobs", 21}}, 400, "top_logprobs", "0 to 20");
  fails(chat, {{"frequency_penalty", 0.5}}, 400, "frequency_penalty", "repetition_penalty");
  fails(chat, {{"tools", {{{"type", "function"}}}}}, 400, "tools", "not supported");
  fails(chat, {{"response_format", {{"type", "json_object"}}}}, 400, "response_format", "text");
  fails(chat, {{"messages", Json::array()}}, 400, "messages", "expected a list");
  fails(chat, {{"messages", {{{"role", "assistant"}, {"content", "x"}}}}}, 400, "messages[0].role",
        "user");
  fails(chat, {{"messages", {{{"role", "user"}}}}}, 400, "messages[0].content", "missing");
  fails(chat, {{"messages", {{{"role", "user"}, {"content", {{{"type", "image_url"}}}}}}}}, 400,
        "messages[0].content", "text");
  fails(chat, {{"messages", {{{"role", "user"}, {"content", std::string(500, 'x')}}}}}, 400,
        "messages", "context has 96");
  fails(plain, {{"prompt", nullptr}}, 400, "prompt", "missing");
  fails(plain, {{"prompt", {1, 99999}}}, 400, "prompt", "99999");
  fails(plain, {{"prompt", {{{"a", 1}}}}}, 400, "prompt", "expected a text");
  fails(plain, {{"echo", true}}, 400, "echo", "not supported");
  fails(plain, {{"best_of", 5}}, 400, "best_of", "not supported");
  fails(plain, {{"prompt", std::vector<std::string>(100, "x")}, {"n", 2}}, 400, "n", "128");
  fails(embeddings, {{"input", Json::array()}}, 400, "input", "0 texts");
  fails(embeddings, {{"input", {"a", ""}}}, 400, "input", "not empty");
  fails(embeddings, {{"dimensions", 8}}, 400, "dimensions", "one width");
  fails(embeddings, {{"encoding_format", "hex"}}, 400, "encoding_format", "base64");
}

TEST_F(OpenAiServer, BodiesThatAreNoRequestsAreRefused) {
  for (const std::string& body :
       {std::string("{"), std::string("[1]"), std::string(), std::string(200'000, '['),
        std::string("{\"prompt\": \"\xFF\"}")}) {
    net::HttpRequest bad = request("/v1/completions", {});
    bad.body = body;
    EXPECT_EQ(client_.send(bad).status, 400) << body.substr(0, 20);
  }
}

TEST_F(OpenAiServer, AKeyIsAskedFor) {
  start({.api_key = "secret"});
  EXPECT_EQ(post("/v1/chat/completions", kChat).status, 401);
  net::HttpRequest wrong = request("/v1/chat/completions", kChat);
  wrong.headers = {{"Authorization", "Bearer secreT"}};
  EXPECT_EQ(client_.send(wrong).status, 401);
  net::HttpRequest right = wrong;
  right.headers = {{"Authorization", "Bearer secret"}};
  EXPECT_EQ(client_.send(right).status, 200);
  EXPECT_EQ(client_.send({.url = server_->url() + "/health"}).status, 200);
  EXPECT_EQ(client_.send({.url = server_->url() + "/v1/models"}).status, 401);
}

TEST_F(OpenAiServer, AClientThatLeavesFreesItsSlots) {
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  Json body = {{"prompt", "x"}, {"max_tokens", 90}, {"n", 100}, {"seed", 3}};
  auto began = Clock::now();
  answer("/v1/completions", body);
  const double whole = since(began);
  for (const bool stream : {true, false}) {
    body["stream"] = stream;
    began = Clock::now();
    {
      llmcf::testing::RawSocket leaving(server_->port());
      const std::string text = body.dump();
      leaving.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                   std::to_string(text.size()) + "\r\n\r\n" + text);
      if (stream) leaving.read_until("data: ");
      if (!stream) std::this_thread::sleep_for(std::chrono::milliseconds(30));
    }
    // Behind what is left of it in the engine's queue.
    answer("/v1/completions", {{"prompt", "x"}, {"max_tokens", 2}});
    EXPECT_LT(since(began), whole / 2) << "stream: " << stream << ", uncut: " << whole << " s";
  }
}

TEST_F(OpenAiServer, AnswersManyAtOnceAsAlone) {
  std::vector<std::string> alone;
  const auto body = [](int i) {
    Json one = kChat;
    one["seed"] = i;
    one["max_tokens"] = 5 + i;
    return one;
  };
  for (int i = 0; i < 12; ++i)
    alone.push_back(answer("/v1/chat/completions", body(i))["choices"].dump());
  std::vector<std::thread> threads;
  for (int i = 0; i < 12; ++i)
    threads.emplace_back([&, i] {
      EXPECT_EQ(answer("/v1/chat/completions", body(i))["choices"].dump(),
                alone[static_cast<size_t>(i)]);
    });
  for (auto& thread : threads)
    thread.join();
}

}  // namespace
}  // namespace llmcf::llm
