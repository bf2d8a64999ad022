#include "serve/scorer/sequence_backbone.h"

#include "core/error.h"

namespace llmcf::serve {

namespace {

struct Entry {
  const char* name;
  std::unique_ptr<SequenceBackbone> (*make)(const SequenceSource& source);
};

constexpr Entry kEntries[] = {{"gru4rec", make_gru4rec},
                              {"sasrec", make_sasrec},
                              {"srgnn", make_srgnn},
                              {"youtubednn", make_youtubednn}};

}  // namespace

const std::vector<std::string>& served_sequence_backbones() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Entry& entry : kEntries)
      all.emplace_back(entry.name);
    return all;
  }();
  return names;
}

std::unique_ptr<SequenceBackbone> make_sequence_backbone(const std::string& name,
                                                         const SequenceSource& source) {
  for (const Entry& entry : kEntries)
    if (name == entry.name) return entry.make(source);
  throw Error(
      unknown_name("sequence backbone that can be served", name, served_sequence_backbones()));
}

}  // namespace llmcf::serve
