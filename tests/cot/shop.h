// A small data set with rows for tests: 12 users, 30 items, chronological purchases.
#pragma once

#include <memory>
#include <string>

#include <fmt/format.h>

#include "core/files.h"
#include "core/random.h"
#include "data/dataset.h"
#include "data/import.h"
#include "data/rows.h"

namespace llmcf::cot {

class Shop {
 public:
  // `poison`: text put into the title of every item.
  explicit Shop(const std::string& poison = "", int users = 12) {
    static constexpr const char* kBrands[] = {"Acme", "Borealis", "Cirrus", "Dune", "Ember"};
    static constexpr const char* kKinds[] = {"Shampoo", "Soap", "Lotion", "Balm", "Oil", "Brush"};
    std::string items = "item_id\ttitle\tbrand\tcategory\n";
    for (int item = 0; item < 30; ++item)
      items += fmt::format("i{}\t{} {} number-{}{}\t{}\tCare|{}\n", item, kBrands[item % 5],
                           kKinds[item % 6], item, poison, kBrands[item % 5], kKinds[item % 6]);
    std::string events = "user_id\titem_id\ttime\n";
    for (int user = 0; user < users; ++user)
      for (int step = 0; step < 6; ++step)
        events += fmt::format("u{:03}\ti{}\t{}\n", user, (user * 7 + step * 5) % 30,
                              1'400'000'000 + step * 86'400 + user);
    const auto& root = directory_.path();
    write_file(root / "items.tsv", items);
    write_file(root / "events.tsv", events);
    write_file(root / "schema.yaml", kSchema);
    data::ImportOptions options;
    options.format = "table";
    options.path = root;
    options.schema_file = root / "schema.yaml";
    data::import_dataset(options, root / "dataset.safetensors");
    dataset_ = std::make_unique<data::Dataset>(root / "dataset.safetensors");
    data::write_rows(*dataset_, {}, root / "rows.safetensors");
    rows_ = std::make_unique<data::RowSet>(root / "rows.safetensors");
  }

  const data::Dataset& dataset() const { return *dataset_; }
  const data::RowSet& rows() const { return *rows_; }
  std::filesystem::path path(const std::string& name) const { return directory_.path() / name; }

 private:
  static constexpr const char* kSchema = R"(
interactions: {file: events.tsv, separator: "\t", user: user_id, item: item_id, time: time}
items: {file: items.tsv, separator: "\t", item: item_id, title: title}
fields:
  - {name: brand, side: item, kind: categorical}
  - {name: category, side: item, kind: multi_categorical, separator: "|"}
)";

  TemporaryDirectory directory_;
  std::unique_ptr<data::Dataset> dataset_;
  std::unique_ptr<data::RowSet> rows_;
};

}  // namespace llmcf::cot
