// A published bundle: one mapped, checksummed file with everything that serving reads. No libtorch.
//
// Tensors (I items, N examples, U users; [I + 1] tables have a row 0 that pads):
//   user_names, item_names (names.h), item_titles           raw ids and titles
//   user_row i32 [U + 1]                                    row of the user in table user_id
//   items.panels f32                                        sequence bundles: item_list.h
//   history_offsets i64 [U + 2], history_items i32          histories at the end of the log
//   field.<f>.{offsets i64, ids i32} | .values f32          values of field f by item (or user)
//   field.<f>.vocabulary (names.h)                          names of its values
//   weights.<name> f32                                      the trained model, names of the
//   training item_text f32 [I + 1, W]                                frozen texts, where the
//   context reads them examples.{user,item,position,label i32, time i64}       the pool, [N];
//   answer texts and ids examples.cot f32 [N, W]                                 frozen chains of
//   thought retrieval.*                                             example_search.h items.static,
//   examples.*                                what the scorer precomputes encoder/<file> u8 the
//   text encoder's files
//   kar.*                                                    scorer/kar.h
//   reference.*                                              retrieval_profile.h
// Metadata: format, version, spec (spec.h), digest (of the spec).
//
// Invariants:
//  1. Opening checks every checksum, on all threads; a tensor without one is refused.
//  2. Immutable after opening: any number of threads may read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/safetensors.h"
#include "serve/names.h"
#include "serve/spec.h"

namespace llmcf::serve {

// The values of one field by entity, as data::FieldColumn has them.
struct FieldValues {
  std::span<const int64_t> offsets;  // [entities + 1]; empty for numbers
  std::span<const int32_t> ids;      // rows of the field's table
  std::span<const float> values;     // [entities]; numbers only

  std::span<const int32_t> ids_of(int64_t entity) const {
    if (offsets.empty()) return {};
    const auto begin = static_cast<size_t>(offsets[static_cast<size_t>(entity)]);
    const auto end = static_cast<size_t>(offsets[static_cast<size_t>(entity) + 1]);
    return ids.subspan(begin, end - begin);
  }
};

// The pool of examples, [N] each.
struct Examples {
  std::span<const int32_t> user, item, position, label;
  std::span<const int64_t> time;  // Unix seconds
  StringColumn text;              // chains of thought

  int64_t size() const { return static_cast<int64_t>(user.size()); }
};

class Bundle {
 public:
  // Throws InputError naming the file and what is wrong with it.
  explicit Bundle(const std::filesystem::path& path);

  const SafetensorsReader& reader() const { return reader_; }
  const BundleSpec& spec() const { return spec_; }
  // Hash of the description and of all tensors' checksums: what a response says it came from.
  const std::string& version() const { return version_; }

  const Names& users() const { return users_; }
  const Names& items() const { return items_; }
  std::string_view item_title(int64_t item) const { return titles_[item]; }
  int32_t user_row(int32_t user) const { return user_row_[static_cast<size_t>(user)]; }
  // The whole history of a user of the log, oldest first; empty for user 0.
  std::span<const int32_t> history(int32_t user) const;

  const FieldValues& values(size_t field) const { return values_[field]; }
  const Names& vocabulary(size_t field) const { return vocabularies_[field]; }
  const Examples& examples() const { return examples_; }
  std::span<const float> item_text() const { return item_text_; }  // [I + 1, W] or empty
  // Items of the history that the text about each user (KAR) has seen; 0 = there is no text. Empty
  // where the model reads none.
  std::span<const int32_t> user_text_length() const { return user_text_length_; }  // [U + 1]

  // weights.<name>; throws InputError if it is missing.
  std::span<const float> weight(const std::string& name) const;
  bool has_weight(const std::string& name) const { return reader_.contains("weights." + name); }
  const std::vector<int64_t>& weight_shape(const std::string& name) const;

  // Writes the encoder's files into a directory, for text::load_encoder.
  void extract_encoder(const std::filesystem::path& directory) const;

 private:
  void check_header() const;
  void read_fields();

  SafetensorsReader reader_;
  BundleSpec spec_;
  std::string version_;
  Names users_, items_;
  StringColumn titles_;
  std::span<const int32_t> user_row_;
  std::span<const int64_t> history_offsets_;
  std::span<const int32_t> history_items_;
  std::vector<FieldValues> values_;
  std::vector<Names> vocabularies_;
  Examples examples_;
  std::span<const float> item_text_;
  std::span<const int32_t> user_text_length_;
};

// Metadata of a bundle. The spec's digest makes an altered description show.
void describe_bundle(SafetensorsWriter& writer, const BundleSpec& spec);

}  // namespace llmcf::serve
