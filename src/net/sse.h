// Incremental parser of server-sent events (WHATWG HTML, section 9.2.6), as chat endpoints stream
// them: bytes go in however they are cut, whole events come out.
//
// Invariant: the events do not depend on where the bytes are cut (inside a CRLF or a UTF-8
// character included).
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace llmcf::net {

struct SseEvent {
  std::string type;  // the `event:` field, empty if none
  std::string data;  // the `data:` lines, joined by line feeds
};

class SseParser {
 public:
  using OnEvent = std::function<void(const SseEvent& event)>;

  // Throws Error (from feed) for an event of more than `max_event_bytes`.
  explicit SseParser(OnEvent on_event, size_t max_event_bytes = size_t{8} << 20);

  void feed(std::string_view bytes);
  // The stream has ended: delivers an event whose closing blank line is missing.
  void finish();
  // Whether `data: [DONE]` came. That event is not delivered, and nothing after it.
  bool done() const { return done_; }

 private:
  void take_line(std::string_view line);
  void dispatch();

  OnEvent on_event_;
  size_t max_event_bytes_;
  std::string line_;
  SseEvent event_;
  bool has_data_ = false;
  bool done_ = false;
  bool first_line_ = true;
  bool skip_line_feed_ = false;  // the last byte was a CR: an LF next belongs to it
};

}  // namespace llmcf::net
