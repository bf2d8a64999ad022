#include "net/sse.h"

#include <utility>

#include "core/error.h"

namespace llmcf::net {

SseParser::SseParser(OnEvent on_event, size_t max_event_bytes)
    : on_event_(std::move(on_event)), max_event_bytes_(max_event_bytes) {}

void SseParser::feed(std::string_view bytes) {
  while (!bytes.empty() && !done_) {
    if (skip_line_feed_ && bytes.front() == '\n') bytes.remove_prefix(1);
    skip_line_feed_ = false;
    const size_t end = bytes.find_first_of("\r\n");
    line_.append(bytes.substr(0, end));
    if (line_.size() + event_.data.size() > max_event_bytes_)
      throw Error("server-sent event is larger than " + std::to_string(max_event_bytes_) +
                  " bytes: not an event stream?");
    if (end == std::string_view::npos) return;
    skip_line_feed_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    take_line(std::exchange(line_, {}));
  }
}

void SseParser::finish() {
  if (!line_.empty()) take_line(std::exchange(line_, {}));
  dispatch();
}

void SseParser::take_line(std::string_view line) {
  if (std::exchange(first_line_, false) && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  if (line.empty()) return dispatch();
  const size_t colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? "" : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "data") {
    if (has_data_) event_.data += '\n';
    event_.data += value;
    has_data_ = true;
  } else if (field == "event") {
    event_.type = value;
  }
}

void SseParser::dispatch() {
  const SseEvent event = std::exchange(event_, {});
  if (!std::exchange(has_data_, false) || done_) return;
  if (event.data == "[DONE]") {
    done_ = true;
  } else {
    on_event_(event);
  }
}

}  // namespace llmcf::net
