// A real HTTP server for tests: starts tests/net/scripted_server.py on a free loopback port and
// stops it (by its process id) at the end of its life; it also ends by itself when the test
// process is gone. It speaks POST /v1/chat/completions (with and without streaming) and POST
// /v1/embeddings, and misbehaves as told.
//
//   ScriptedServer server;                      // LLMCF_REQUIRE_PYTHON() first: skips without
//   server.script(R"({...})");                  // from now on; counters of rules start again
//   client.send({.url = server.url() + "/v1/chat/completions", ...});
//   server.asked("text of the prompt");         // how often a request with this text arrived
//   server.log();                               // everything that happened, oldest first
//
// The script is one JSON object; every key may be absent:
//
//   {"rules": [RULE, ...],                      // the first rule that applies decides
//    "chat": {"text": "...",                    // the answer; {prompt} = last message's content,
//                                               // {system} = first message's, {count} = how often
//                                               // this prompt arrived, {n} = index of the choice
//             "replies": [{"contains": "...", "text": "..."}],   // first match goes before "text"
//             "finish_reason": "stop",
//             "top_logprobs": [["Yes", -0.1], ...],   // of the first token, for who asks for them
//             "usage": true,                    // false: no usage in the answer
//             "prompt_tokens": N, "completion_tokens": N,  // default: words of messages / answer
//             "piece_bytes": N,                 // cut a stream into pieces of N bytes
//             "piece_delay_ms": N},             // and wait between them
//    "embeddings": {"dim": 16}}                 // vectors are a hash of the text, length not 1
//
//   RULE: which requests
//     "path": "/v1/embeddings"     prefix of the path; default: any
//     "contains": "text"           somewhere in the request's body (or its decoded strings)
//     "skip": N                    not the first N of these
//     "every": N                   only every Nth of these
//     "times": N                   at most N in all
//     "each": N                    at most N for each distinct body
//   RULE: what happens
//     "delay_ms": N                wait before anything else
//     "action":
//       "ok"            the usual answer (default)
//       "status"        "status": 500, "headers": {"Retry-After": "1"}, "body": "..." (default: a
//                       JSON error object)
//       "broken_json"   status 200, a body that ends in the middle of the JSON
//       "drop"          the connection is reset without an answer
//       "truncate"      half of the usual answer's body, then the connection is closed (also of a
//                       stream: neither [DONE] nor the closing chunk)
//       "hang"          no answer for "hang_ms" (60,000), then the connection is closed
//       "no_done"       a stream that ends properly but without [DONE]
//       "reorder"       embeddings: entries in reverse order, with their true index
//       "wrong_width"   embeddings: one number too few in each vector
//       "missing"       embeddings: the last entry is absent
//       "duplicate"     embeddings: every entry has index 0
//       "no_logprobs"   chat: the usual answer without log-probabilities
//       "null"          embeddings: a null among the numbers; chat: content is null
//
// Log entries (JSON): {"event": "request", "id", "time", "path", "method", "prompt" (chat: content
// of the last message; embeddings: the inputs joined by line feeds), "system", "model", "stream",
// "authorization" (header or null), "connection" (client's port), "body" (decoded or text),
// "action"} when a request has arrived, before anything is sent; and {"event": "answered", "id",
// "action"} when the last bytes of a usual answer ("ok") are about to be sent: a client that has
// the whole answer finds it in the log.
#pragma once

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include "core/files.h"

namespace llmcf::testing {

class ScriptedServer {
 public:
  using Json = nlohmann::json;

  ScriptedServer() {
    script("{}");
    int to_server[2];
    int from_server[2];
    if (pipe2(to_server, O_CLOEXEC) != 0 || pipe2(from_server, O_CLOEXEC) != 0)
      throw std::runtime_error("scripted server: no pipe");
    const std::string program = LLMCF_SOURCE_DIR "/tests/net/scripted_server.py";
    const std::string script_file = script_path().string();
    const std::string log_file = log_path().string();
    pid_ = fork();
    if (pid_ == 0) {
      dup2(to_server[0], 0);
      dup2(from_server[1], 1);
      execlp("python3", "python3", program.c_str(), "--script", script_file.c_str(), "--log",
             log_file.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
    close(to_server[0]);
    close(from_server[1]);
    alive_ = to_server[1];
    port_ = read_port(from_server[0]);
    close(from_server[0]);
    if (pid_ < 0 || port_ == 0) {
      stop();
      throw std::runtime_error("scripted server did not start: " + program);
    }
  }
  ~ScriptedServer() { stop(); }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  // Whether python3 is there to run it.
  static bool available() {
    static const bool found = std::system("command -v python3 >/dev/null 2>&1") == 0;
    return found;
  }

  int port() const { return port_; }
  // "http://127.0.0.1:PORT", without a slash at the end.
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

  void script(const std::string& json) { write_file(script_path(), json); }
  void script(const char* json) { script(std::string(json)); }
  void script(const Json& json) { script(json.dump()); }

  std::vector<Json> log() const {
    std::vector<Json> entries;
    std::ifstream file(log_path());
    for (std::string line; std::getline(file, line);)
      entries.push_back(Json::parse(line));
    return entries;
  }
  // Requests that have arrived, optionally only those whose path begins so.
  std::vector<Json> requests(const std::string& path = "") const {
    std::vector<Json> found;
    for (Json& entry : log())
      if (entry["event"] == "request" && entry["path"].get<std::string>().rfind(path, 0) == 0)
        found.push_back(std::move(entry));
    return found;
  }
  // How many requests had this text in their prompt.
  int asked(const std::string& text) const {
    int count = 0;
    for (const Json& entry : requests())
      count += entry["prompt"].get<std::string>().find(text) != std::string::npos;
    return count;
  }
  // How many of those were answered as usual.
  int answered(const std::string& text) const {
    std::vector<Json> entries = log();
    int count = 0;
    for (const Json& entry : entries) {
      if (entry["event"] != "answered") continue;
      for (const Json& other : entries)
        count += other["event"] == "request" && other["id"] == entry["id"] &&
                 other["prompt"].get<std::string>().find(text) != std::string::npos;
    }
    return count;
  }

 private:
  std::filesystem::path script_path() const { return directory_.path() / "script.json"; }
  std::filesystem::path log_path() const { return directory_.path() / "requests.jsonl"; }

  static int read_port(int descriptor) {
    std::string line;
    char letter = 0;
    while (read(descriptor, &letter, 1) == 1 && letter != '\n')
      line += letter;
    return line.empty() ? 0 : std::stoi(line);
  }

  void stop() {
    if (alive_ >= 0) close(alive_);
    alive_ = -1;
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
    pid_ = -1;
  }

  TemporaryDirectory directory_;
  pid_t pid_ = -1;
  int alive_ = -1;  // the server ends when this pipe closes
  int port_ = 0;
};

}  // namespace llmcf::testing

// Skips the running test where there is no python3.
#define LLMCF_REQUIRE_PYTHON() \
  if (!llmcf::testing::ScriptedServer::available()) GTEST_SKIP() << "not found: python3"
