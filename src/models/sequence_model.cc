#include "models/sequence_model.h"

#include "core/error.h"

namespace llmcf::models {

// models/seq_list.inc, written by CMake, has one row MODEL(stem) per file of models/seq.
#define MODEL(stem) SequenceEntry sequence_entry_##stem();
#include "models/seq_list.inc"
#undef MODEL

const std::vector<SequenceEntry>& sequence_models() {
  static const std::vector<SequenceEntry> entries = {
#define MODEL(stem) sequence_entry_##stem(),
#include "models/seq_list.inc"
#undef MODEL
  };
  return entries;
}

std::vector<std::string> sequence_backbone_names() {
  std::vector<std::string> names;
  for (const SequenceEntry& entry : sequence_models())
    names.emplace_back(entry.name);
  return names;
}

bool is_sequence_backbone(std::string_view name) {
  for (const SequenceEntry& entry : sequence_models())
    if (entry.name == name) return true;
  return false;
}

bool reads_session_graphs(const ModelOptions& options) {
  return sequence_model(options.backbone).needs.graphs;
}

const SequenceEntry& sequence_model(std::string_view name) {
  for (const SequenceEntry& entry : sequence_models())
    if (entry.name == name) return entry;
  throw Error(unknown_name("backbone", std::string(name), sequence_backbone_names()));
}

}  // namespace llmcf::models
