// Server-sent events, cut at every place.
#include "net/sse.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"

namespace llmcf::net {
namespace {

std::vector<std::string> parse(const std::string& text, size_t step, bool* done = nullptr) {
  std::vector<std::string> events;
  SseParser parser([&](const SseEvent& event) { events.push_back(event.type + "|" + event.data); });
  for (size_t begin = 0; begin < text.size(); begin += step)
    parser.feed(std::string_view(text).substr(begin, step));
  parser.finish();
  if (done != nullptr) *done = parser.done();
  return events;
}

const char* const kStream =
    "\xEF\xBB\xBF: comment\r\n"
    "data: {\"a\": \"\xC3\xA4\"}\r\n\r\n"
    "event: note\ndata:one\ndata: two\ndata:  three\n\n"
    "id: 7\nretry: 10\n\n"
    "data\r\r"
    "data: [DONE]\n\n"
    "data: after\n\n";

TEST(Sse, EventsDoNotDependOnTheCuts) {
  const std::vector<std::string> expected = {"|{\"a\": \"\xC3\xA4\"}", "note|one\ntwo\n three",
                                             "|"};
  for (size_t step = 1; step < 120; ++step) {
    bool done = false;
    EXPECT_EQ(parse(kStream, step, &done), expected) << step;
    EXPECT_TRUE(done) << step;
  }
}

TEST(Sse, FinishDeliversAnEventWithoutItsBlankLine) {
  bool done = true;
  EXPECT_EQ(parse("data: a\n\ndata: b", 3, &done), (std::vector<std::string>{"|a", "|b"}));
  EXPECT_FALSE(done);
}

TEST(Sse, AnEndlessLineIsAnError) {
  SseParser parser([](const SseEvent&) {}, 100);
  EXPECT_THROW(parser.feed(std::string(101, 'x')), Error);
}

}  // namespace
}  // namespace llmcf::net
