// Catalogue text on its way into a prompt. Sellers write titles; a title must stay data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace llmcf::cot {

// `text` on one line and at most `max_chars` characters (code points; "..." marks a cut), without
// anything a chat template or our own prompt could take for structure:
//   control, bidirectional, zero-width and tag characters and invalid UTF-8 are dropped;
//   < > [ ] { } become round or single ones, so no <item>, <|im_start|>, <<SYS>>, [INST] or
//   {{slot}}; role markers ("system:", "assistant:", ...) lose their colon; runs of #, `, - and =
//   shrink to one.
// A pure function; its result is a fixed point of itself.
std::string neutralise(std::string_view text, int64_t max_chars);

}  // namespace llmcf::cot
