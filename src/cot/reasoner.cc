// Reasoners by name.
#include "cot/reasoner.h"

#include <algorithm>

#include "core/error.h"
#include "cot/endpoint_reasoner.h"
#include "cot/shop_expert.h"
#include "cot/template_reasoner.h"

namespace llmcf::cot {

Usage Reasoner::bound(const ReasonRequest& request) const {
  return {.prompt_tokens =
              approximate_tokens(request.prompt.system) + approximate_tokens(request.prompt.user),
          .completion_tokens = 0,
          .money = 0,
          .estimated = true};
}

int64_t approximate_tokens(std::string_view text) {
  const auto characters = std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  });
  return (characters + 3) / 4;
}

std::unique_ptr<Reasoner> make_reasoner(const Config& reason, const MakeLocal& local) {
  const std::string kind =
      reason.get_choice("kind", "template", {"template", "shop_expert", "endpoint", "local"});
  // The other kind's section may stand beside it: switching is one word.
  const Config endpoint = reason.section("endpoint");
  const Config offline = reason.section("template");
  const Config in_process = reason.section("local");
  if (kind == "local") {
    if (!reason.has("local"))
      reason.fail("kind", "local, but the section 'local' is missing; it takes at least model");
    if (!local) reason.fail("kind", "local needs a build with libtorch");
    return local(in_process);
  }
  if (kind == "endpoint") {
    if (!reason.has("endpoint")) {
      reason.fail("kind",
                  "endpoint, but the section 'endpoint' is missing; it takes at least url and "
                  "model");
    }
    return std::make_unique<EndpointReasoner>(EndpointOptions::from(endpoint));
  }
  offline.finish();
  if (kind == "shop_expert") return std::make_unique<ShopExpert>();
  return std::make_unique<TemplateReasoner>();
}

}  // namespace llmcf::cot
