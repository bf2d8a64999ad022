// One run of an import: the passes in the order of the method names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "data/batch.h"
#include "data/event_log.h"
#include "data/faults.h"
#include "data/field_builder.h"
#include "data/id_map.h"
#include "data/import.h"
#include "data/schema.h"
#include "data/table_reader.h"

namespace llmcf::data {

class Importer {
 public:
  explicit Importer(const ImportOptions& options);

  ImportSummary run(const std::filesystem::path& out);

 private:
  // The builders of one side with the batch's columns they read.
  using Builders = std::vector<FieldBuilder*>;

  Builders builders_of(Side side);
  std::vector<std::string> columns_of(const Table& table, Side side);
  static std::vector<size_t> slots_of(const TableReader& reader, const Builders& builders);
  // Appends the row to every builder, or reports the cell that does not fit and returns false.
  static bool append(const Builders& builders, const std::vector<size_t>& slots, const Batch& batch,
                     size_t row, TableReader& reader);

  void read_catalogue();
  void read_interactions();
  void read_users();
  void finish_fields();
  void build_texts();
  std::string text_of(int64_t item) const;
  void write(const std::filesystem::path& out);
  std::string dataset_name() const;

  ImportOptions options_;
  Schema schema_;
  FaultCounter faults_;
  ImportSummary summary_;
  std::vector<FieldBuilder> builders_;

  IdMap users_;                           // in order of first appearance
  IdMap items_;                           // rows of the catalogue, then added ones
  std::vector<std::string_view> titles_;  // by row of the catalogue
  Arena title_arena_;
  std::vector<int64_t> user_rows_;  // by number in users_: row of the users file, or -1
  EventLog log_;
  ArrangedEvents events_;
  int64_t catalogue_rows_ = 0;
  StringColumnBuilder item_titles_, item_texts_;
};

}  // namespace llmcf::data
