#include "serve/user_history.h"

namespace llmcf::serve {

int64_t events_after(const Bundle& bundle, const std::string& user) {
  return bundle.users().find(user).value_or(0) > 0 ? bundle.spec().log_end : 0;
}

KnownHistory history_of(const Bundle& bundle, const Catalogue& catalogue, const Past& past) {
  KnownHistory history;
  if (past.user) history.user = bundle.users().find(*past.user).value_or(0);
  history.known_user = history.user > 0;
  const auto add = [&](const std::string& name) {
    if (const auto row = catalogue.find(name)) {
      history.rows.push_back(*row);
    } else {
      ++history.unknown;
    }
  };
  if (past.given) {
    for (const std::string& item : *past.given)
      add(item);
    return history;
  }
  if (!past.user) return history;
  const auto logged = bundle.history(history.user);
  history.rows.assign(logged.begin(), logged.end());
  const int64_t after = events_after(bundle, *past.user);
  for (const StoredEvent& event : past.events) {
    if (event.time <= after) continue;
    add(event.item);
    history.known_user = true;
  }
  return history;
}

}  // namespace llmcf::serve
