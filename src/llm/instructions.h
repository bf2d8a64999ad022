// Conversations to tune on, from the files people have. No libtorch.
//
// Formats, told apart by content: Alpaca JSON (instruction, input, output, optionally system and
// history), ShareGPT (conversations of {from, value}) and messages of {role, content}; LIMA as
// pairs of texts (conversations of texts, which take turns). Each is a JSON array or JSON lines.
// A file named *.txt holds documents, an empty line between two; all of a document is learned.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace llmcf::llm {

enum class Role { kSystem, kUser, kAssistant };

struct Turn {
  Role role = Role::kUser;
  std::string text;
};

// A system turn comes first if at all; then user and assistant alternate, the user first. A
// document is one assistant turn.
struct Conversation {
  std::vector<Turn> turns;
};

// Throws InputError naming file, entry or line, field and what was expected.
std::vector<Conversation> read_conversations(const std::filesystem::path& file);

// What one epoch sees of several sources: `weights` are shares of the whole (they need not sum to
// 1) or, where absent (empty), every conversation once. A source smaller than its share repeats,
// whole rounds first; a larger one is sampled without repetition. `total` = 0: as many as there
// are. Returns (source, index) in a seeded order.
struct Pick {
  int32_t source = 0;
  int32_t index = 0;
  bool operator==(const Pick&) const = default;
};
std::vector<Pick> mix(const std::vector<int64_t>& sizes, const std::vector<double>& weights,
                      int64_t total, uint64_t seed);

}  // namespace llmcf::llm
