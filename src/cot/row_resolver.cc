// See row_resolver.h.
#include "cot/row_resolver.h"

#include "core/error.h"

namespace llmcf::cot {

namespace {

int32_t find(const std::unordered_map<std::string_view, int32_t>& ids, std::string_view name) {
  const auto entry = ids.find(name);
  return entry == ids.end() ? 0 : entry->second;
}

}  // namespace

RowResolver::RowResolver(const data::Dataset& dataset, const data::RowSet& rows)
    : rows_(rows), book_(dataset) {
  users_.reserve(static_cast<size_t>(dataset.num_users()));
  items_.reserve(static_cast<size_t>(dataset.num_items()));
  for (int64_t user = 1; user <= dataset.num_users(); ++user)
    users_.emplace(dataset.user_name(user), static_cast<int32_t>(user));
  for (int64_t item = 1; item <= dataset.num_items(); ++item)
    items_.emplace(dataset.item_name(item), static_cast<int32_t>(item));
}

int32_t RowResolver::user(std::string_view name) const {
  return find(users_, name);
}

int32_t RowResolver::item(std::string_view name) const {
  return find(items_, name);
}

Facts RowResolver::facts(const JobRow& row, bool tell_decision, int64_t max_history) const {
  const int32_t user_id = user(row.user);
  const int32_t item_id = item(row.item);
  LLMCF_ASSERT(user_id > 0 && item_id > 0);
  const std::optional<bool> decision =
      tell_decision ? std::optional(row.label >= 0.5F) : std::nullopt;
  return book_.facts(rows_.history(user_id, row.position), item_id, decision, max_history);
}

Facts RowResolver::facts(int32_t user, int32_t position, int32_t item, int64_t max_history) const {
  const auto history = user > 0 ? rows_.history(user, position) : std::span<const int32_t>();
  return book_.facts(history, item, std::nullopt, max_history);
}

}  // namespace llmcf::cot
