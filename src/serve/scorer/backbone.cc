#include "serve/scorer/backbone.h"

#include "serve/scorer/makers.h"

namespace llmcf::serve {

namespace {

constexpr Maker<Backbone, BackboneSource> kMakers[] = {
    {"autoint", make_autoint}, {"dcn", make_dcn}, {"dcnv2", make_dcnv2},
    {"deepfm", make_deepfm},   {"din", make_din}, {"xdeepfm", make_xdeepfm}};

}  // namespace

const std::vector<std::string>& served_backbones() {
  static const std::vector<std::string> names = names_of(kMakers);
  return names;
}

std::unique_ptr<Backbone> make_backbone(const std::string& name, const BackboneSource& source) {
  return made_by(kMakers, "backbone that can be served", name, source);
}

}  // namespace llmcf::serve
