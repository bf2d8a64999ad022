// A bundle in service: opened, checked, with its scorer, its search and its catalogue, to which
// items can be added. A click bundle scores pairs; a sequence bundle scores items by the state of a
// history, and no item can be added to it.
//
// Invariants:
//  1. A request takes catalogue() once and uses it from start to end: it sees an item or it does
//  not.
//  2. unknown_item() stands for every item that the catalogue does not know: no id, no values, no
//     text.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "serve/item_list.h"
#include "serve/scorer/scorer.h"
#include "serve/scorer/sequence_scorer.h"
#include "text/encoder.h"

namespace llmcf::serve {

// An item to be added.
struct ItemDefinition {
  std::string name;
  std::string title;
  std::string text;  // what the encoder reads; empty = made from title and fields
  std::map<std::string, std::vector<std::string>> fields;  // values by field
};

class Candidates;

class Deployment {
 public:
  // `list` is read for a sequence bundle alone. Throws InputError naming the file and what is wrong
  // with it.
  explicit Deployment(const std::filesystem::path& file, const ItemListOptions& list = {});

  const Bundle& bundle() const { return *bundle_; }
  const BundleSpec& spec() const { return bundle_->spec(); }
  // REQUIRES: a click bundle.
  const Scorer& scorer() const { return *scorer_; }
  // Both null for a click bundle.
  const SequenceScorer* sequence() const { return sequence_.get(); }
  const ItemList* list() const { return list_.get(); }
  const ExampleSearch* search() const { return search_.get(); }  // null without retrieval
  std::shared_ptr<const Catalogue> catalogue() const;
  int32_t unknown_item() const { return static_cast<int32_t>(spec().items + 1); }

  // Throws Error naming a field of the item that is none.
  void check(const ItemDefinition& item) const;
  // Adds items, all at once; each may take the place of one with its name. Returns the values that
  // no vocabulary knows, as "item: field: value": they are left out. Throws Error naming a field
  // that is none; nothing has been added then.
  std::vector<std::string> add(std::span<const ItemDefinition> items);

  // Where a click bundle's candidates come from; null: from its own vectors. A request takes it
  // once, as it does the catalogue.
  std::shared_ptr<const Candidates> candidates() const;
  void set_candidates(std::shared_ptr<const Candidates> candidates);

  // Items by how often histories hold them, most often first: what somebody without a history is
  // shown.
  const std::vector<int32_t>& popular() const { return popular_; }

 private:
  size_t field_of(const std::string& name) const;
  std::shared_ptr<AddedItem> make(const ItemDefinition& item,
                                  std::vector<std::string>& unknown) const;
  void encode(const ItemDefinition& item, AddedItem& made) const;
  void enter(std::span<const std::shared_ptr<AddedItem>> items);
  const text::Encoder* encoder() const;

  std::shared_ptr<const Bundle> bundle_;
  std::unique_ptr<const Scorer> scorer_;  // of a click bundle
  std::unique_ptr<const SequenceScorer> sequence_;
  std::unique_ptr<const ItemList> list_;
  std::unique_ptr<const ExampleSearch> search_;
  std::vector<int32_t> popular_;
  mutable std::mutex adding_;  // one at a time
  mutable std::once_flag encoder_once_;
  mutable std::unique_ptr<text::Encoder> encoder_;
  mutable std::mutex guard_;  // of what follows
  std::shared_ptr<const Candidates> candidates_;
  std::shared_ptr<const Catalogue> catalogue_;
};

}  // namespace llmcf::serve
