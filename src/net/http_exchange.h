// One request of a connection and its answer, shared by the connection's strand and the worker that
// runs the handler. No Boost in here.
//
// Thread safety: run_handler() and what it calls belong to the worker, the rest to the strand; the
// outbox between them is locked.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

#include "net/http_router.h"

namespace llmcf::net {

class Exchange final : public ServerResponse::Sink {
 public:
  Exchange(std::function<void()> on_more, bool head, bool in_chunks)
      : head_only(head), chunked(in_chunks), on_more_(std::move(on_more)) {
    request.cancelled = &cancelled_;
  }

  bool begin(const ServerResponse& answer) override;
  bool write(std::string_view piece) override;
  // The worker's part: whatever happens in there becomes `response`.
  void run_handler();

  // The client sends no more: a stream ends, a whole answer is still sent.
  void cancel();
  // Nothing can be sent: a handler that has not begun never will.
  void end();
  // What has been written and not been taken.
  std::string take();

  const bool head_only;
  const bool chunked;  // false (HTTP/1.0): a stream's body ends with the connection
  ServerRequest request;
  const Route* route = nullptr;
  bool keep_alive = false;
  // Of the worker until it has posted that it is done, then the connection's.
  ServerResponse response{this};
  int streamed_status = 0;  // set before the first bytes of a stream
  bool broken = false;      // the handler threw within a stream

 private:
  bool push(std::string_view bytes);
  void fail(int status, std::string_view message, std::string_view field = {},
            Headers headers = {});

  const std::function<void()> on_more_;  // there is something to take
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> ended_ = false;
  std::mutex guard_;
  std::condition_variable changed_;
  std::string outbox_;
};

// How the reader of an answer knows where its body ends.
enum class Framing { kLength, kChunked, kUntilClose };

// Status line and headers. Throws Error for a header that would be more than one line.
std::string head_of(const ServerResponse& response, const std::string& id, bool keep_alive,
                    Framing framing);

}  // namespace llmcf::net
