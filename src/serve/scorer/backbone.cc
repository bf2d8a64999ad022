#include "serve/scorer/backbone.h"

#include "core/error.h"

namespace llmcf::serve {

namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Backbone> (*make)(const BackboneSource& source);
};

constexpr Entry kEntries[] = {{"autoint", make_autoint}, {"dcn", make_dcn},
                              {"dcnv2", make_dcnv2},     {"deepfm", make_deepfm},
                              {"din", make_din},         {"xdeepfm", make_xdeepfm}};

}  // namespace

const std::vector<std::string>& served_backbones() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Entry& entry : kEntries)
      all.emplace_back(entry.name);
    return all;
  }();
  return names;
}

std::unique_ptr<Backbone> make_backbone(const std::string& name, const BackboneSource& source) {
  for (const Entry& entry : kEntries)
    if (name == entry.name) return entry.make(source);
  throw Error(unknown_name("backbone that can be served", name, served_backbones()));
}

}  // namespace llmcf::serve
