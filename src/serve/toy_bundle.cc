#include "serve/toy_bundle.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "core/files.h"
#include "core/random.h"
#include "serve/example_search.h"
#include "serve/retrieval_profile.h"
#include "serve/scorer/prepare.h"
#include "serve/search_index.h"
#include "text/make_encoder.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kNow = 1'700'000'000;
constexpr int64_t kDay = 86400;

class Toy {
 public:
  explicit Toy(const ToyOptions& options) : options_(options), random_(options.seed, "toy.bundle") {
    if (sequence()) options_.token = options_.embed_dim;
  }

  void write(const std::filesystem::path& path) {
    describe();
    add_catalogue();
    add_users();
    if (sequence())
      add_sequence_weights();
    else
      add_weights();
    if (options_.context != "none") add_item_text();
    if (spec_.context.uses_retrieval()) add_examples();
    const TemporaryDirectory directory;
    if (!sequence()) add_encoder(directory.path() / "encoder");
    describe_bundle(writer_, spec_);
    const auto raw = directory.path() / "raw.bundle";
    writer_.write(raw);
    const auto bundle = std::make_shared<const Bundle>(raw);
    const Precomputed precomputed(bundle);
    SafetensorsWriter whole;
    precomputed.add_to(whole);
    std::vector<int64_t> reference;
    if (spec_.examples > 0) profile(bundle).add_to(whole, reference);
    whole.write(path);
  }

 private:
  bool sequence() const { return options_.backbone == "sasrec"; }

  void describe() {
    const bool ict = options_.context == "ict";
    spec_.name = "toy";
    spec_.variant = options_.context;
    spec_.seed = 1;
    spec_.created = "2023-11-14T22:13:20Z";
    spec_.made_by = "toy";
    spec_.metrics = {{"auc", 0.5}};
    spec_.backbone = options_.backbone;
    spec_.embed_dim = options_.embed_dim;
    spec_.context = {.kind = options_.context,
                     .heads = 2,
                     .merged = ict,
                     .residual = ict,
                     .evidence = ict,
                     .alignment = ict && !sequence(),
                     .gated = false};
    if (sequence())
      describe_sequence();
    else
      describe_fields();
    spec_.history_length = options_.history_length;
    spec_.text_dim = options_.context == "none" ? 0 : options_.text_width;
    spec_.users = options_.users;
    spec_.items = options_.items;
    spec_.examples = ict ? options_.examples : 0;
    spec_.retrieval.k = options_.k;
    spec_.retrieval.normalize = true;
    if (sequence()) spec_.retrieval.history_weight = 1;
    spec_.folds = ict ? options_.folds : 1;
    spec_.retrieval_width = ict ? options_.text_width + options_.log_width : 0;
    spec_.neighbours = options_.neighbours;
    spec_.scan = options_.scan;
    spec_.reasoners = "template";
    spec_.newest_example = kNow;
    spec_.log_end = kNow;
    spec_.collaborative = options_.log_width > 0 ? 0.5 : 0;
  }

  void describe_sequence() {
    spec_.sequence = {.user_ids = false, .concat_fusion = false, .context_weight = 0.1};
    spec_.tables = {{"item_id", options_.items + 2}};
    const auto field = [&](const char* name, int table, models::FieldRole role, ValueKind kind,
                           int item_field) {
      spec_.fields.push_back(
          {.spec = {.name = name, .table = table, .role = role, .single = item_field < 0},
           .kind = kind,
           .item_field = item_field});
    };
    field("history", 0, models::FieldRole::kHistory, ValueKind::kItemId, 1);
    field("item_id", 0, models::FieldRole::kItem, ValueKind::kItemId, -1);
    field("brand", -1, models::FieldRole::kItem, ValueKind::kColumn, -1);
  }

  void describe_fields() {
    spec_.tables = {{"user_id", options_.users + 2},
                    {"item_id", options_.items + 2},
                    {"brand", options_.brands + 2},
                    {"when", 4}};
    const auto field = [&](const char* name, int table, models::FieldRole role, ValueKind kind,
                           int item_field) {
      spec_.fields.push_back(
          {.spec = {.name = name, .table = table, .role = role, .single = item_field < 0},
           .kind = kind,
           .item_field = item_field,
           .pads = false});
    };
    field("user_id", 0, models::FieldRole::kUser, ValueKind::kUserId, -1);
    field("item_id", 1, models::FieldRole::kItem, ValueKind::kItemId, -1);
    field("brand", 2, models::FieldRole::kItem, ValueKind::kColumn, -1);
    field("when", 3, models::FieldRole::kContext, ValueKind::kColumn, -1);
    field("hist_item_id", 1, models::FieldRole::kHistory, ValueKind::kItemId, 1);
    field("hist_brand", 2, models::FieldRole::kHistory, ValueKind::kColumn, 2);
  }

  std::vector<float>& floats(int64_t count, double deviation) {
    auto& values = kept_.emplace_back(static_cast<size_t>(count));
    for (float& value : values)
      value = static_cast<float>(deviation * random_.normal());
    return values;
  }

  int32_t below(int64_t bound) {
    return static_cast<int32_t>(random_.below(static_cast<uint64_t>(bound)));
  }

  void add_catalogue() {
    names_.push_back("");
    titles_.push_back("");
    brands_.assign(1, 0);
    brand_offsets_ = {0, 0};
    for (int64_t item = 1; item <= options_.items; ++item) {
      const int32_t brand = 1 + below(options_.brands);
      names_.push_back(fmt::format("item-{}", options_.first_item + item - 1));
      titles_.push_back(fmt::format("brand-{} thing {}", brand, item));
      brands_.push_back(brand);
      brand_ids_.push_back(brand);
      brand_offsets_.push_back(item);
    }
    names_.finish();
    names_.add_to(writer_, "item_names");
    titles_.add_to(writer_, "item_titles");
    writer_.add<int64_t>("field.brand.offsets", brand_offsets_);
    writer_.add<int32_t>("field.brand.ids", brand_ids_);
    brand_names_.push_back("");
    for (int64_t brand = 1; brand <= options_.brands; ++brand)
      brand_names_.push_back(fmt::format("brand-{}", brand));
    brand_names_.finish();
    brand_names_.add_to(writer_, "field.brand.vocabulary");
    for (const char* when : {"", "morning", "evening"})
      when_names_.push_back(when);
    when_names_.finish();
    when_names_.add_to(writer_, "field.when.vocabulary");
  }

  void add_users() {
    users_.push_back("");
    offsets_ = {0, 0};
    user_row_ = {static_cast<int32_t>(options_.users + 1)};
    for (int64_t user = 1; user <= options_.users; ++user) {
      users_.push_back(fmt::format("user-{}", user));
      user_row_.push_back(static_cast<int32_t>(user));
      const int64_t length = 1 + below(2 * options_.history);
      // People stay near one cluster of items.
      const int64_t taste = below(options_.clusters);
      for (int64_t i = 0; i < length; ++i) {
        const bool near = random_.uniform() < 0.7 && options_.items > options_.clusters;
        const int64_t step = options_.clusters * below(options_.items / options_.clusters);
        history_.push_back(near ? static_cast<int32_t>(1 + (taste + step) % options_.items)
                                : 1 + below(options_.items));
      }
      offsets_.push_back(static_cast<int64_t>(history_.size()));
    }
    users_.finish();
    users_.add_to(writer_, "user_names");
    writer_.add<int32_t>("user_row", user_row_);
    writer_.add<int64_t>("history_offsets", offsets_);
    writer_.add<int32_t>("history_items", history_);
  }

  void weight(const std::string& name, std::vector<int64_t> shape, double deviation) {
    int64_t count = 1;
    for (const int64_t size : shape)
      count *= size;
    auto& values = floats(count, deviation);
    writer_.add<float>("weights." + name, std::move(shape), std::span<const float>(values));
  }
  void linear(const std::string& name, int64_t out, int64_t in) {
    weight(name + ".weight", {out, in}, 1 / std::sqrt(static_cast<double>(in)));
    weight(name + ".bias", {out}, 0.1);
  }

  void add_weights() {
    const int64_t D = options_.embed_dim, F = static_cast<int64_t>(spec_.fields.size());
    for (const models::TableSpec& table : spec_.tables) {
      weight("tables." + table.name, {table.rows, D}, 0.3);
      weight("first_order." + table.name, {table.rows, 1}, 0.1);
    }
    const bool context = options_.context != "none";
    const int64_t d = options_.token, C = context ? d : 0;
    linear("backbone.tower.linear0", options_.tower[0], F * D + C);
    linear("backbone.tower.linear1", options_.tower[1], options_.tower[0]);
    linear("backbone.head", 1, options_.tower[1]);
    weight("backbone.bias", {1}, 0.1);
    if (!context) return;
    weight("backbone.context_linear.weight", {1, C}, 0.3);
    if (options_.context == "kar") {
      add_kar();
      return;
    }
    add_context_weights(F);
    if (options_.context == "ict") weight("alignment.weight", {d, 2}, 0.3);
  }

  void add_sequence_weights() {
    const int64_t D = options_.embed_dim;
    auto& items = floats((options_.items + 2) * D, 0.3);
    std::fill_n(items.begin(), D, 0.0F);
    writer_.add<float>("weights.tables.item_id", {options_.items + 2, D},
                       std::span<const float>(items));
    weight("backbone.positions", {options_.history_length, D}, 0.3);
    const auto norm = [&](const std::string& name) {
      weight(name + ".weight", {D}, 1);
      weight(name + ".bias", {D}, 0.1);
    };
    for (int block = 0; block < 2; ++block) {
      const std::string name = fmt::format("backbone.block{}", block);
      norm(name + "_attention_norm");
      norm(name + "_forward_norm");
      linear(name + "_in", 3 * D, D);
      for (const char* part : {"_out", "_forward0", "_forward1"})
        linear(name + part, D, D);
    }
    norm("backbone.last_norm");
    if (options_.context != "none") add_context_weights(2);
  }

  // Of a context that reads `fields` embedded fields and two texts.
  void add_context_weights(int64_t fields) {
    const int64_t D = options_.embed_dim, d = options_.token;
    linear("context.text_map.linear0", options_.text_hidden, options_.text_width);
    linear("context.text_map.linear1", d, options_.text_hidden);
    const std::string prefix = options_.context == "ict" ? "context.ict." : "context.";
    linear(prefix + "token_map.linear0", options_.token_hidden, fields * D + 2 * d);
    linear(prefix + "token_map.linear1", d, options_.token_hidden);
    if (options_.context != "ict") return;
    const int64_t hidden = (4 * d / 3 + 31) / 32 * 32;
    weight("context.ict.label", {2, d}, 0.5);
    weight("context.ict.evidence", {d, 2 * spec_.slot_features()}, 0.3);
    weight("context.ict.gate", {d}, 0.5);
    for (const char* part : {"wq", "wk", "wv", "wo"})
      weight(fmt::format("context.ict.layer0.{}.weight", part), {d, d},
             1 / std::sqrt(static_cast<double>(d)));
    weight("context.ict.layer0.w1.weight", {hidden, d}, 1 / std::sqrt(static_cast<double>(d)));
    weight("context.ict.layer0.w3.weight", {hidden, d}, 1 / std::sqrt(static_cast<double>(d)));
    weight("context.ict.layer0.w2.weight", {d, hidden}, 1 / std::sqrt(static_cast<double>(hidden)));
    for (const char* part : {"layer0.attention_norm", "layer0.feed_forward_norm", "norm"})
      weight(fmt::format("context.ict.{}.weight", part), {d}, 1);
  }

  // Two experts of each kind. The text about a user is as old as the powers of two allow; every
  // third user has none.
  void add_kar() {
    const int64_t W = options_.text_width;
    for (const char* expert :
         {"shared0", "shared1", "specific0_0", "specific0_1", "specific1_0", "specific1_1"}) {
      const std::string name = fmt::format("context.adaptor.{}", expert);
      linear(name + ".linear0", options_.text_hidden, W);
      linear(name + ".linear1", options_.token / 2, options_.text_hidden);
    }
    for (const char* gate : {"gate0", "gate1"})
      linear(fmt::format("context.adaptor.{}", gate), 4, W);
    auto& users = floats((options_.users + 1) * W, 0.3);
    for (int64_t user = 0; user <= options_.users; ++user) {
      const auto length = static_cast<uint32_t>(offsets_[static_cast<size_t>(user) + 1] -
                                                offsets_[static_cast<size_t>(user)]);
      text_length_.push_back(user % 3 == 0 ? 0 : static_cast<int32_t>(std::bit_floor(length)));
      if (text_length_.back() == 0) std::fill_n(users.begin() + user * W, W, 0.0F);
    }
    writer_.add<float>("kar.user", {options_.users + 1, W}, std::span<const float>(users));
    writer_.add<int32_t>("kar.user_length", text_length_);
    writer_.add<float>("kar.item", {options_.items + 1, W},
                       std::span<const float>(floats((options_.items + 1) * W, 0.3)));
  }

  // Rows of unit length near their item's cluster; row 0 is zeros.
  const std::vector<float>& item_vectors(int64_t width, double noise) {
    const auto centres = floats(options_.clusters * width, 1);
    auto& vectors = floats((options_.items + 1) * width, noise);
    std::fill_n(vectors.begin(), width, 0.0F);
    for (int64_t item = 1; item <= options_.items; ++item) {
      float* row = vectors.data() + item * width;
      double square = 0;
      for (int64_t k = 0; k < width; ++k) {
        row[k] += centres[static_cast<size_t>((item - 1) % options_.clusters * width + k)];
        square += static_cast<double>(row[k]) * row[k];
      }
      for (int64_t k = 0; k < width; ++k)
        row[k] = static_cast<float>(row[k] / std::sqrt(square));
    }
    return vectors;
  }

  void add_item_text() {
    text_ = &item_vectors(options_.text_width, 0.7);
    writer_.add<float>("item_text", {options_.items + 1, options_.text_width},
                       std::span<const float>(*text_));
  }

  void add_examples() {
    struct Row {
      int64_t time;
      int32_t user, item, position;
      float label;
    };
    std::vector<Row> rows;
    for (int64_t i = 0; i < options_.examples; ++i) {
      const int32_t user = 1 + below(options_.users);
      const auto at = static_cast<size_t>(user);
      const auto length = static_cast<int32_t>(offsets_[at + 1] - offsets_[at]);
      const int32_t position = below(length);
      const bool positive = i % 2 == 0;
      rows.push_back({kNow - kDay * below(400), user,
                      positive ? history_[static_cast<size_t>(offsets_[at] + position)]
                               : 1 + below(options_.items),
                      position, positive ? 1.0F : 0.0F});
    }
    std::stable_sort(rows.begin(), rows.end(),
                     [](const Row& left, const Row& right) { return left.time < right.time; });
    for (const Row& row : rows) {
      user_.push_back(row.user);
      item_.push_back(row.item);
      position_.push_back(row.position);
      label_.push_back(row.label);
      label_ids_.push_back(row.label > 0.5F ? 1 : 0);
      time_.push_back(row.time);
      texts_.push_back(fmt::format("user-{} likes things such as item-{}", row.user, row.item));
    }
    writer_.add<int32_t>("examples.user", user_);
    writer_.add<int32_t>("examples.item", item_);
    writer_.add<int32_t>("examples.position", position_);
    writer_.add<int32_t>("examples.label", label_ids_);
    writer_.add<int64_t>("examples.time", time_);
    texts_.add_to(writer_, "examples.text");
    writer_.add<float>(
        "examples.cot", {options_.examples, options_.text_width},
        std::span<const float>(floats(options_.examples * options_.text_width, 0.3)));
    add_index();
  }

  // Retrieval vectors: half text, half log, as retrieval/collaborative.h joins them.
  void add_index() {
    SearchSource source;
    source.pool = {
        .user = user_, .item = item_, .position = position_, .label = label_, .time = time_};
    const int64_t width = options_.text_width + options_.log_width;
    const float share = options_.log_width > 0 ? std::sqrt(0.5F) : 1.0F;
    for (int64_t fold = 0; fold < options_.folds; ++fold) {
      const auto& log = item_vectors(std::max<int64_t>(options_.log_width, 1), 0.9);
      auto& joined = kept_.emplace_back(static_cast<size_t>((options_.items + 1) * width));
      for (int64_t item = 1; item <= options_.items; ++item) {
        for (int64_t k = 0; k < options_.text_width; ++k)
          joined[static_cast<size_t>(item * width + k)] =
              share * (*text_)[static_cast<size_t>(item * options_.text_width + k)];
        for (int64_t k = 0; k < options_.log_width; ++k)
          joined[static_cast<size_t>(item * width + options_.text_width + k)] =
              share * log[static_cast<size_t>(item * options_.log_width + k)];
      }
      source.vectors.push_back({.item_text = joined, .width = width});
    }
    for (int64_t user = 0; user <= options_.users; ++user)
      source.user_fold.push_back(static_cast<int32_t>(user % options_.folds));
    source.histories = [this](int32_t user, int32_t position) {
      return std::span<const int32_t>(history_).subspan(
          static_cast<size_t>(offsets_[static_cast<size_t>(user)]), static_cast<size_t>(position));
    };
    source.options = spec_.retrieval;
    source.neighbours = options_.neighbours;
    source.scan = options_.scan;
    index_ = std::make_unique<SearchIndex>(source);
    index_->add_to(writer_);
    spec_.neighbours = index_->neighbours();
  }

  // What retrieval finds for the first users and some items each.
  RetrievalProfile profile(const std::shared_ptr<const Bundle>& bundle) {
    constexpr int64_t kUsers = 200, kItems = 32;
    const ExampleSearch search(*bundle);
    const Catalogue catalogue(bundle);
    RetrievalProfile profile;
    ScratchArena arena;
    std::vector<float> history(static_cast<size_t>(spec_.retrieval_width));
    for (int32_t user = 1; user <= std::min(kUsers, options_.users); ++user) {
      arena.reset();
      std::vector<int32_t> candidates;
      while (static_cast<int64_t>(candidates.size()) < kItems)
        candidates.push_back(1 + below(options_.items));
      const int64_t fold = search.fold_of(user);
      search.history_vector(catalogue, fold, bundle->history(user), history.data());
      Slots slots = Slots::make(kItems, spec_.retrieval.k, arena);
      search.search(catalogue, fold, history.data(), candidates, arena, slots);
      const auto k = static_cast<size_t>(slots.k);
      for (size_t i = 0; i < candidates.size(); ++i)
        profile.add({slots.ids + i * k, k}, {slots.similarity + i * k, k});
    }
    return profile;
  }

  // Fitted on the first titles; of the width of the texts where the corpus allows it.
  void add_encoder(const std::filesystem::path& directory) {
    if (options_.context == "none") return;
    std::vector<std::string_view> corpus;
    for (int64_t item = 1; item <= std::min<int64_t>(options_.items, 500); ++item)
      corpus.push_back(titles_[item]);
    const auto encoder = text::make_encoder(
        Config::parse(fmt::format("{{kind: lsa, width: {}}}", options_.text_width)), corpus);
    text::save_encoder(*encoder, directory);
    spec_.encoder = encoder->fingerprint();
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      const std::string& content = files_.emplace_back(read_file(entry.path()));
      writer_.add("encoder/" + entry.path().filename().string(), Dtype::kU8,
                  {static_cast<int64_t>(content.size())}, content.data());
    }
  }

  ToyOptions options_;
  Random random_;
  BundleSpec spec_;
  SafetensorsWriter writer_;
  std::deque<std::vector<float>> kept_;
  std::deque<std::string> files_;
  NamesBuilder names_, users_, brand_names_, when_names_;
  StringColumnBuilder titles_, texts_;
  std::vector<int64_t> brand_offsets_, offsets_, time_;
  std::vector<int32_t> brands_, brand_ids_, history_, user_row_;
  std::vector<int32_t> user_, item_, position_, label_ids_, text_length_;
  std::vector<float> label_;
  const std::vector<float>* text_ = nullptr;
  std::unique_ptr<SearchIndex> index_;
};

}  // namespace

void write_toy_bundle(const ToyOptions& options, const std::filesystem::path& path) {
  Toy(options).write(path);
}

}  // namespace llmcf::serve
