#include "serve/deployment.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/files.h"
#include "text/make_encoder.h"

namespace llmcf::serve {

namespace {

// As data/importer makes the texts of a catalogue: "title: ...; brand: ...".
std::string text_of(const ItemDefinition& item) {
  if (!item.text.empty()) return item.text;
  std::string text = item.title.empty() ? "" : "title: " + item.title;
  for (const auto& [field, values] : item.fields)
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", field, fmt::join(values, ", "));
  return text;
}

}  // namespace

Deployment::Deployment(const std::filesystem::path& file, const ItemListOptions& list)
    : bundle_(std::make_shared<const Bundle>(file)),
      catalogue_(std::make_shared<const Catalogue>(bundle_)) {
  if (!bundle_->reader().contains(spec().sequence ? "items.panels" : "items.static"))
    throw InputError(file.string(), 0, "holds no precomputed items: publish the run again");
  if (spec().sequence) {
    sequence_ = std::make_unique<const SequenceScorer>(bundle_);
    list_ = std::make_unique<const ItemList>(*bundle_, list);
  } else {
    scorer_ = std::make_unique<const Scorer>(bundle_);
  }
  if (spec().retrieval_width > 0) search_ = std::make_unique<const ExampleSearch>(*bundle_);
  std::vector<int64_t> count(static_cast<size_t>(spec().items) + 1);
  for (int32_t user = 1; user <= spec().users; ++user)
    for (const int32_t item : bundle_->history(user))
      ++count[static_cast<size_t>(item)];
  popular_.resize(static_cast<size_t>(spec().items));
  std::iota(popular_.begin(), popular_.end(), 1);
  std::stable_sort(popular_.begin(), popular_.end(), [&](int32_t left, int32_t right) {
    return count[static_cast<size_t>(left)] > count[static_cast<size_t>(right)];
  });
  std::vector<std::string> none;
  const std::shared_ptr<AddedItem> unknown = make({}, none);
  enter({&unknown, 1});
}

std::shared_ptr<const Catalogue> Deployment::catalogue() const {
  const std::lock_guard lock(guard_);
  return catalogue_;
}

std::shared_ptr<const Candidates> Deployment::candidates() const {
  const std::lock_guard lock(guard_);
  return candidates_;
}

void Deployment::set_candidates(std::shared_ptr<const Candidates> candidates) {
  const std::lock_guard lock(guard_);
  candidates_ = std::move(candidates);
}

const text::Encoder* Deployment::encoder() const {
  std::call_once(encoder_once_, [this] {
    const TemporaryDirectory directory;
    bundle_->extract_encoder(directory.path());
    encoder_ = text::load_encoder(directory.path());
  });
  return encoder_.get();
}

// Vectors of its text: what the context reads, and what retrieval compares by (whose other half,
// the log, knows nothing of a new item).
void Deployment::encode(const ItemDefinition& item, AddedItem& made) const {
  const std::string text = text_of(item);
  made.text.assign(static_cast<size_t>(spec().text_dim), 0.0F);
  std::vector<float> vector;
  if (!text.empty() && !spec().encoder.empty()) {
    vector.resize(static_cast<size_t>(encoder()->dim()));
    const std::string_view view = text;
    encoder()->encode({&view, 1}, vector);
    if (vector.size() == made.text.size()) made.text = vector;
  }
  const auto share = static_cast<float>(std::sqrt(1 - spec().collaborative));
  for (int64_t fold = 0; fold < (search_ ? spec().folds : 0); ++fold) {
    auto& joined = made.vectors.emplace_back(static_cast<size_t>(spec().retrieval_width));
    for (size_t k = 0; k < std::min(vector.size(), joined.size()); ++k)
      joined[k] = share * vector[k];
  }
  if (search_) made.lists = search_->lists_for(made.vectors);
}

size_t Deployment::field_of(const std::string& name) const {
  std::vector<std::string> known;
  const auto& fields = spec().fields;
  for (size_t f = 0; f < fields.size(); ++f) {
    if (fields[f].spec.role != models::FieldRole::kItem || fields[f].kind != ValueKind::kColumn)
      continue;
    if (fields[f].spec.name == name) return f;
    known.push_back(fields[f].spec.name);
  }
  throw Error(unknown_name("field of an item", name, known));
}

void Deployment::check(const ItemDefinition& item) const {
  for (const auto& [name, values] : item.fields)
    field_of(name);
}

std::shared_ptr<AddedItem> Deployment::make(const ItemDefinition& item,
                                            std::vector<std::string>& unknown) const {
  auto made = std::make_shared<AddedItem>();
  made->name = item.name;
  made->title = item.title;
  made->ids.resize(spec().fields.size());
  for (const auto& [name, values] : item.fields) {
    const size_t field = field_of(name);
    for (const std::string& value : values) {
      if (const auto id = bundle_->vocabulary(field).find(value)) {
        made->ids[field].push_back(*id);
      } else {
        unknown.push_back(item.name + ": " + name + ": " + value);
      }
    }
  }
  encode(item, *made);
  return made;
}

void Deployment::enter(std::span<const std::shared_ptr<AddedItem>> items) {
  std::vector<int32_t> rows;
  const auto width = static_cast<size_t>(scorer_ == nullptr ? 0 : scorer_->item_width());
  for (const std::shared_ptr<AddedItem>& item : items)
    item->constants.resize(width);
  // Rows are computed in a catalogue that nobody sees yet.
  const auto next = catalogue()->with(items, rows);
  ScratchArena arena;
  for (size_t i = 0; i < items.size() && scorer_ != nullptr; ++i)
    scorer_->fill_item(*next, rows[i], items[i]->constants.data(), arena);
  const std::lock_guard lock(guard_);
  catalogue_ = next;
}

std::vector<std::string> Deployment::add(std::span<const ItemDefinition> items) {
  LLMCF_ASSERT(items.empty() || sequence_ == nullptr);
  const std::lock_guard lock(adding_);
  std::vector<std::string> unknown;
  std::vector<std::shared_ptr<AddedItem>> made;
  for (const ItemDefinition& item : items)
    made.push_back(make(item, unknown));
  enter(made);
  return unknown;
}

}  // namespace llmcf::serve
