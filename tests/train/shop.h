// A small shop for tests, imported and split like real data: users and items fall into groups, and
// a user mostly takes items of their own group, which shows in the items' categories and in a text
// vector per item.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "core/files.h"
#include "core/random.h"
#include "data/dataset.h"
#include "data/import.h"
#include "data/rows.h"
#include "train/feature_store.h"

namespace llmcf::train::testing {

struct ShopOptions {
  int64_t users = 60;
  int64_t items = 40;
  int64_t events = 8;  // per user
  int64_t groups = 4;
  bool extras = false;  // also: item price (numeric), user city, context device
  uint64_t seed = 7;
};

class Shop {
 public:
  explicit Shop(const ShopOptions& options) : options_(options) {
    write_files();
    data::ImportOptions import;
    import.name = "shop";
    import.schema = schema();
    data::import_dataset(import, directory_.path() / "dataset.safetensors");
    dataset_ = std::make_unique<data::Dataset>(directory_.path() / "dataset.safetensors");
    data::write_rows(*dataset_, {}, directory_.path() / "rows.safetensors");
    rows_ = std::make_unique<data::RowSet>(directory_.path() / "rows.safetensors");
  }

  const data::Dataset& dataset() const { return *dataset_; }
  const data::RowSet& rows() const { return *rows_; }
  const std::filesystem::path& directory() const { return directory_.path(); }

 private:
  void write_files() {
    Random random(options_.seed, "shop");
    std::string interactions = "user\titem\ttime\tdevice\n",
                items = "item\tbrand\tcategory\tprice\n", users = "user\tcity\n";
    for (int64_t item = 0; item < options_.items; ++item) {
      const int64_t group = item % options_.groups;
      // Every third item has no brand; one to three categories, the first of them the group's.
      items += "i" + std::to_string(item) + "\t" +
               (item % 3 == 0 ? "" : "b" + std::to_string(item % 5)) + "\tc" +
               std::to_string(group);
      for (int64_t more = 0; more < item % 3; ++more)
        items += "|extra" + std::to_string((item + more) % 6);
      items += "\t" + std::to_string(item + 1) + "\n";
    }
    for (int64_t user = 0; user < options_.users; ++user) {
      users += "u" + std::to_string(user) + "\tcity" + std::to_string(user % 3) + "\n";
      std::vector<bool> taken(static_cast<size_t>(options_.items));
      for (int64_t event = 0; event < options_.events;) {
        int64_t item = static_cast<int64_t>(random.below(static_cast<uint64_t>(options_.items)));
        if (random.uniform() < 0.9) item += user % options_.groups - item % options_.groups;
        if (item < 0 || item >= options_.items || taken[static_cast<size_t>(item)]) continue;
        taken[static_cast<size_t>(item)] = true;
        interactions += "u" + std::to_string(user) + "\ti" + std::to_string(item) + "\t" +
                        std::to_string(1000 + event * 100 + user) + "\td" +
                        std::to_string(event % 2) + "\n";
        ++event;
      }
    }
    write_file(directory_.path() / "interactions.tsv", interactions);
    write_file(directory_.path() / "items.tsv", items);
    write_file(directory_.path() / "users.tsv", users);
  }

  data::Schema schema() const {
    data::Schema schema;
    schema.interactions.path = directory_.path() / "interactions.tsv";
    schema.interactions.user = "user";
    schema.interactions.item = "item";
    schema.interactions.time = "time";
    schema.items.path = directory_.path() / "items.tsv";
    schema.items.item = "item";
    schema.interactions.separator = schema.items.separator = schema.users.separator = "\t";
    schema.fields = {field("brand", data::Side::kItem, data::Kind::kCategorical),
                     field("category", data::Side::kItem, data::Kind::kMultiCategorical)};
    if (!options_.extras) return schema;
    schema.users.path = directory_.path() / "users.tsv";
    schema.users.user = "user";
    schema.fields.push_back(field("price", data::Side::kItem, data::Kind::kNumeric));
    schema.fields.push_back(field("city", data::Side::kUser, data::Kind::kCategorical));
    schema.fields.push_back(field("device", data::Side::kContext, data::Kind::kCategorical));
    return schema;
  }

  static data::Field field(const std::string& name, data::Side side, data::Kind kind) {
    data::Field field;
    field.name = name;
    field.side = side;
    field.kind = kind;
    return field;
  }

  ShopOptions options_;
  TemporaryDirectory directory_;
  std::unique_ptr<data::Dataset> dataset_;
  std::unique_ptr<data::RowSet> rows_;
};

// What LLM-CF adds to a shop: text vectors that tell an item's group, every seventh training row as
// an example, and k examples per row (some masked) that begin at a random place.
class Examples {
 public:
  Examples(const Shop& shop, int64_t text_dim, int64_t k, uint64_t seed = 3)
      : text_dim_(text_dim), k_(k) {
    Random random(seed, "examples");
    const data::Rows& train = shop.rows().train();
    for (size_t row = 0; row < train.user.size(); row += 7) {
      user_.push_back(train.user[row]);
      item_.push_back(train.item[row]);
      position_.push_back(train.position[row]);
      label_.push_back(train.label[row]);
    }
    item_text_.resize(static_cast<size_t>((shop.dataset().num_items() + 1) * text_dim));
    for (size_t index = static_cast<size_t>(text_dim); index < item_text_.size(); ++index)
      item_text_[index] =
          static_cast<float>(random.normal() / std::sqrt(static_cast<double>(text_dim)));
    cot_.resize(user_.size() * static_cast<size_t>(text_dim));
    for (float& value : cot_)
      value = static_cast<float>(random.normal() / std::sqrt(static_cast<double>(text_dim)));
    for (size_t split = 0; split < 3; ++split) {
      const int64_t rows = shop.rows().rows(static_cast<data::Split>(split)).size();
      for (int64_t row = 0; row < rows; ++row)
        alignment_[split].push_back(static_cast<float>(random.uniform()));
      for (int64_t slot = 0; slot < rows * k; ++slot) {
        const bool masked = random.uniform() < 0.1;
        slots_[split].push_back(masked ? -1 : static_cast<int32_t>(random.below(user_.size())));
        similarity_[split].push_back(masked ? 0 : static_cast<float>(random.uniform()));
      }
    }
  }

  FeatureInputs inputs(const Shop& shop) const {
    FeatureInputs inputs;
    inputs.dataset = &shop.dataset();
    inputs.rows = &shop.rows();
    inputs.item_text = item_text_;
    inputs.text_dim = text_dim_;
    inputs.examples = {
        .user = user_, .item = item_, .position = position_, .label = label_, .event = {}};
    inputs.k = k_;
    for (size_t split = 0; split < 3; ++split)
      inputs.slots[split] = {
          .ids = slots_[split], .similarity = similarity_[split], .alignment = alignment_[split]};
    return inputs;
  }
  std::span<const float> cot() const { return cot_; }
  std::vector<float>& item_text() { return item_text_; }

 private:
  int64_t text_dim_;
  int64_t k_;
  std::vector<int32_t> user_, item_, position_;
  std::vector<float> label_, item_text_, cot_;
  std::vector<int32_t> slots_[3];
  std::vector<float> similarity_[3], alignment_[3];
};

}  // namespace llmcf::train::testing
