#include "serve/scorer/sequence_backbone.h"

#include "serve/scorer/makers.h"

namespace llmcf::serve {

namespace {

constexpr Maker<SequenceBackbone, SequenceSource> kMakers[] = {{"gru4rec", make_gru4rec},
                                                               {"sasrec", make_sasrec},
                                                               {"srgnn", make_srgnn},
                                                               {"youtubednn", make_youtubednn}};

}  // namespace

const std::vector<std::string>& served_sequence_backbones() {
  static const std::vector<std::string> names = names_of(kMakers);
  return names;
}

std::unique_ptr<SequenceBackbone> make_sequence_backbone(const std::string& name,
                                                         const SequenceSource& source) {
  return made_by(kMakers, "sequence backbone that can be served", name, source);
}

}  // namespace llmcf::serve
