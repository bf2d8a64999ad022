#include "serve/names.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace llmcf::serve {

Names::Names(const SafetensorsReader& reader, const std::string& name)
    : names_(reader, name), order_(reader.get<int32_t>(name + ".order")) {
  const auto size = static_cast<int64_t>(order_.size());
  const bool fits =
      size == std::max<int64_t>(names_.size() - 1, 0) &&
      std::all_of(order_.begin(), order_.end(), [&](int32_t id) { return id > 0 && id <= size; });
  if (!fits)
    throw InputError(
        reader.path().string(), 0,
        fmt::format("'{}.order' does not list the {} names once each", name, names_.size() - 1));
}

std::optional<int32_t> Names::find(std::string_view name) const {
  const auto found =
      std::lower_bound(order_.begin(), order_.end(), name,
                       [this](int32_t id, std::string_view wanted) { return names_[id] < wanted; });
  if (found == order_.end() || names_[*found] != name) return std::nullopt;
  return *found;
}

void NamesBuilder::finish() {
  order_.resize(static_cast<size_t>(std::max<int64_t>(names_.size() - 1, 0)));
  std::iota(order_.begin(), order_.end(), 1);
  std::sort(order_.begin(), order_.end(), [this](int32_t left, int32_t right) {
    const std::string_view l = names_[left], r = names_[right];
    return l != r ? l < r : left < right;
  });
}

void NamesBuilder::add_to(SafetensorsWriter& writer, const std::string& name) const {
  names_.add_to(writer, name);
  writer.add<int32_t>(name + ".order", order_);
}

}  // namespace llmcf::serve
