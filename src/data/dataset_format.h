// The format of a data set file, shared by its writer and Dataset.
//
//   metadata  format = "llmcf.dataset", version = "1", name, fields (JSON, in the schema's order)
//   tensors   user_offsets i64 [users + 2], event_item i32 [events], event_time i64 [events],
//             event_rating f32 [events] (explicit feedback only),
//             user_names, item_names, item_titles, item_texts (string columns, entry 0 empty),
//             field.<name>.{offsets i64, ids i32, vocabulary (string column)} | .values f32 |
//             .text (string column)
#pragma once

#include <string>
#include <vector>

#include "core/safetensors.h"
#include "data/dataset.h"

namespace llmcf::data {

inline constexpr const char* kDatasetFormat = "llmcf.dataset";
inline constexpr const char* kDatasetVersion = "1";

// Format, version, name and fields as metadata.
void write_header(SafetensorsWriter& writer, const std::string& name,
                  const std::vector<Field>& fields);
// Checks format and version. Throws InputError naming the file and the remedy.
std::vector<Field> read_header(const SafetensorsReader& reader);

}  // namespace llmcf::data
