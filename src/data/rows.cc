#include "data/rows.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"

namespace llmcf::data {

namespace {

constexpr const char* kFormat = "llmcf.rows";
constexpr const char* kVersion = "1";
constexpr std::string_view kSplits[] = {"train", "valid", "test"};

// The rows of one split while they are collected.
struct Columns {
  std::vector<int32_t> user, item, position;
  std::vector<float> label;
  std::vector<int64_t> time, event;

  void push(int32_t u, int32_t i, int32_t p, float y, int64_t t, int64_t e) {
    user.push_back(u);
    item.push_back(i);
    position.push_back(p);
    label.push_back(y);
    time.push_back(t);
    event.push_back(e);
  }

  void add_to(SafetensorsWriter& writer, const std::string& name) const {
    writer.add(name + ".user", user);
    writer.add(name + ".item", item);
    writer.add(name + ".position", position);
    writer.add(name + ".label", label);
    writer.add(name + ".time", time);
    writer.add(name + ".event", event);
  }
};

// Where an item stands among those that may be drawn, from 1: by its id, or by its first event, so
// that what had been seen by some time is a prefix.
class Shelf {
 public:
  Shelf(const Dataset& dataset, bool by_time) : size_(static_cast<size_t>(dataset.num_items())) {
    if (!by_time) return;
    std::vector<int64_t> first(size_ + 1, std::numeric_limits<int64_t>::max());
    for (size_t event = 0; event < dataset.event_item().size(); ++event) {
      int64_t& seen = first[static_cast<size_t>(dataset.event_item()[event])];
      seen = std::min(seen, dataset.event_time()[event]);
    }
    items_.resize(size_ + 1);
    std::iota(items_.begin(), items_.end(), 0);
    std::stable_sort(items_.begin() + 1, items_.end(), [&](int32_t a, int32_t b) {
      return first[static_cast<size_t>(a)] < first[static_cast<size_t>(b)];
    });
    places_.resize(size_ + 1);
    for (size_t place = 1; place <= size_; ++place) {
      places_[static_cast<size_t>(items_[place])] = static_cast<int32_t>(place);
      times_.push_back(first[static_cast<size_t>(items_[place])]);
    }
  }

  int32_t place_of(int32_t item) const {
    return places_.empty() ? item : places_[static_cast<size_t>(item)];
  }
  int32_t item_at(int32_t place) const {
    return items_.empty() ? place : items_[static_cast<size_t>(place)];
  }
  // How many of the places hold an item that had been seen by then.
  size_t size_at(int64_t time) const {
    if (places_.empty()) return size_;
    return static_cast<size_t>(std::upper_bound(times_.begin(), times_.end(), time) -
                               times_.begin());
  }

 private:
  size_t size_;
  std::vector<int32_t> items_, places_;  // [items + 1]; empty = by id
  std::vector<int64_t> times_;           // of the first event, by place - 1, ascending
};

// Items a user never touched, drawn uniformly: the r-th untouched item is found by bisecting the
// sorted touched ones, so that every draw counts, however few are left.
class NegativeSampler {
 public:
  NegativeSampler(const Dataset& dataset, const SplitOptions& options, int64_t count)
      : dataset_(dataset),
        count_(static_cast<size_t>(count)),
        shelf_(dataset, options.cuts.has_value()),
        one_stream_(options.cuts.has_value()) {
    for (const std::string_view split : kSplits)
      streams_.emplace_back(static_cast<uint64_t>(options.seed),
                            fmt::format("rows.negatives.{}", split));
  }

  void begin_user(int32_t user) {
    const auto offsets = dataset_.user_offsets();
    const auto begin = offsets[static_cast<size_t>(user)];
    const auto end = offsets[static_cast<size_t>(user) + 1];
    const auto items = dataset_.event_item();
    touched_.clear();
    for (int64_t event = begin; event < end; ++event)
      touched_.push_back(shelf_.place_of(items[static_cast<size_t>(event)]));
    std::sort(touched_.begin(), touched_.end());
    touched_.erase(std::unique(touched_.begin(), touched_.end()), touched_.end());
    const size_t left = static_cast<size_t>(dataset_.num_items()) - touched_.size();
    if (left >= count_) return;
    throw Error(
        fmt::format("user '{}' touched {} of {} items, so that {} distinct negatives are not left; "
                    "lower split.negatives to {} or remove the user",
                    dataset_.user_name(user), touched_.size(), dataset_.num_items(), count_, left));
  }

  // Distinct items for one positive of the split.
  const std::vector<int32_t>& draw(Split split, int64_t time) {
    drawn_.clear();
    sorted_.clear();
    const uint64_t choices = untouched_at(time);
    Random& random = streams_[one_stream_ ? 0 : static_cast<size_t>(split)];
    while (drawn_.size() < count_) {
      const int32_t item = shelf_.item_at(untouched(random.below(choices)));
      const auto place = std::lower_bound(sorted_.begin(), sorted_.end(), item);
      if (place != sorted_.end() && *place == item) continue;
      sorted_.insert(place, item);
      drawn_.push_back(item);
    }
    return drawn_;
  }

 private:
  // How many items the user never touched are on the shelf; at least count_.
  uint64_t untouched_at(int64_t time) const {
    size_t places = shelf_.size_at(time);
    const auto after = std::upper_bound(touched_.begin(), touched_.end(), places);
    auto touched = static_cast<size_t>(after - touched_.begin());
    for (; places - touched < count_; ++places)
      touched += touched < touched_.size() && static_cast<size_t>(touched_[touched]) == places + 1;
    return places - touched;
  }

  // The place of the untouched item of that rank.
  int32_t untouched(uint64_t rank) const {
    // touched_[j] has touched_[j] - 1 - j untouched items below it.
    size_t low = 0;
    size_t high = touched_.size();
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (static_cast<uint64_t>(touched_[middle]) - 1 - middle <= rank)
        low = middle + 1;
      else
        high = middle;
    }
    return static_cast<int32_t>(rank + 1 + low);
  }

  const Dataset& dataset_;
  size_t count_;
  Shelf shelf_;
  bool one_stream_;  // for all splits: negatives do not depend on the cuts
  std::vector<Random> streams_;
  std::vector<int32_t> touched_;         // places, ascending
  std::vector<int32_t> drawn_, sorted_;  // items
};

class Splitter {
 public:
  Splitter(const Dataset& dataset, const SplitOptions& options)
      : dataset_(dataset), options_(options), explicit_(options.rating_threshold > 0) {
    if (explicit_ && dataset.event_rating().empty()) {
      throw Error(
          fmt::format("split.rating_threshold is {}, but data set '{}' has no ratings; set "
                      "it to 0 or import ratings",
                      options.rating_threshold, dataset.name()));
    }
    const std::vector<std::string> known = {"leave_one_out", "ratio", "time"};
    if (std::find(known.begin(), known.end(), options.method) == known.end())
      throw Error(unknown_name("split.method", options.method, known));
  }

  // Of the rows, by user: of those that options.user_share draws, or of everybody's.
  std::vector<int64_t> times(bool drawn_only) const {
    std::vector<int64_t> times;
    std::vector<Candidate> rows;
    for (int32_t user = 1; user <= dataset_.num_users(); ++user) {
      if (drawn_only && !is_drawn(user)) continue;
      collect(user, rows);
      for (const Candidate& row : rows)
        times.push_back(dataset_.event_time()[static_cast<size_t>(row.event)]);
    }
    return times;
  }

  void run(const std::filesystem::path& path) {
    build_histories();
    if (options_.cuts) {
      valid_from_ = options_.cuts->valid_from;
      test_from_ = options_.cuts->test_from;
      end_ = options_.cuts->end;
    } else if (options_.method == "time") {
      find_cuts();
    }
    NegativeSampler sampler(dataset_, options_, explicit_ ? 0 : options_.negatives);
    item_train_count_.assign(static_cast<size_t>(dataset_.num_items()) + 1, 0);
    user_in_train_.assign(static_cast<size_t>(dataset_.num_users()) + 1, 0);
    for (int32_t user = 1; user <= dataset_.num_users(); ++user)
      split_user(user, sampler);
    for (size_t split = 0; split < columns_.size(); ++split) {
      if (!columns_[split].user.empty() || is_left_out(static_cast<Split>(split))) continue;
      throw Error(
          fmt::format("the {} split of data set '{}' is empty (method {}, min_history {}); "
                      "lower min_history, change the shares or the method",
                      kSplits[split], dataset_.name(), options_.method, options_.min_history));
    }
    write(path);
  }

 private:
  // A row before its split is known.
  struct Candidate {
    int64_t event;
    int32_t position;
    float label;
  };

  int64_t begin_of(int32_t user) const {
    return dataset_.user_offsets()[static_cast<size_t>(user)];
  }

  float label_of(int64_t event) const {
    if (!explicit_) return 1.0F;
    return dataset_.event_rating()[static_cast<size_t>(event)] >= options_.rating_threshold ? 1.0F
                                                                                            : 0.0F;
  }

  void build_histories() {
    history_offsets_.assign(static_cast<size_t>(dataset_.num_users()) + 2, 0);
    for (int32_t user = 1; user <= dataset_.num_users(); ++user) {
      for (int64_t event = begin_of(user); event < begin_of(user + 1); ++event) {
        if (label_of(event) > 0)
          history_items_.push_back(dataset_.event_item()[static_cast<size_t>(event)]);
      }
      history_offsets_[static_cast<size_t>(user) + 1] = static_cast<int64_t>(history_items_.size());
    }
  }

  // The user's rows, in order.
  void collect(int32_t user, std::vector<Candidate>& rows) const {
    rows.clear();
    int32_t position = 0;
    for (int64_t event = begin_of(user); event < begin_of(user + 1); ++event) {
      const float label = label_of(event);
      if (position >= options_.min_history) rows.push_back({event, position, label});
      position += label > 0;
    }
  }

  bool is_left_out(Split split) const {
    return options_.cuts && ((split == Split::kValid && valid_from_ == test_from_) ||
                             (split == Split::kTest && test_from_ == end_));
  }

  // Times at which validation and test begin, so that their rows have the asked shares. Rows of the
  // same time fall on the same side, the later one.
  void find_cuts() {
    std::vector<int64_t> times = this->times(false);
    if (times.empty()) return;
    const auto quantile = [&](double share) {
      const auto at = std::min(times.size() - 1,
                               static_cast<size_t>(std::llround(share * double(times.size()))));
      std::nth_element(times.begin(), times.begin() + static_cast<int64_t>(at), times.end());
      return times[at];
    };
    valid_from_ = quantile(1 - options_.valid_share - options_.test_share);
    test_from_ = quantile(1 - options_.test_share);
  }

  // `index` of `count` rows of the user; `left` events of the user follow the row's.
  Split split_of(const Candidate& row, size_t index, size_t count, int64_t left) const {
    if (options_.method == "leave_one_out" && !options_.cuts)
      return left == 0 ? Split::kTest : left == 1 ? Split::kValid : Split::kTrain;
    if (options_.method == "time" || options_.cuts) {
      const int64_t time = dataset_.event_time()[static_cast<size_t>(row.event)];
      return time >= test_from_    ? Split::kTest
             : time >= valid_from_ ? Split::kValid
                                   : Split::kTrain;
    }
    const auto rows = static_cast<double>(count);
    const auto test = static_cast<size_t>(std::llround(rows * options_.test_share));
    const auto valid = static_cast<size_t>(std::llround(rows * options_.valid_share));
    if (index + test >= count) return Split::kTest;
    return index + test + valid >= count ? Split::kValid : Split::kTrain;
  }

  bool is_drawn(int32_t user) const {
    if (options_.user_share >= 1) return true;
    Random random(static_cast<uint64_t>(options_.seed), fmt::format("share of user {}", user));
    return random.uniform() < options_.user_share;
  }

  void split_user(int32_t user, NegativeSampler& sampler) {
    collect(user, scratch_);
    const bool user_drawn = is_drawn(user);
    if (!scratch_.empty()) sampler.begin_user(user);
    for (size_t index = 0; index < scratch_.size(); ++index) {
      const Candidate& row = scratch_[index];
      const Split split = split_of(row, index, scratch_.size(), begin_of(user + 1) - 1 - row.event);
      const int32_t item = dataset_.event_item()[static_cast<size_t>(row.event)];
      const int64_t time = dataset_.event_time()[static_cast<size_t>(row.event)];
      const bool drawn = user_drawn && time < end_;
      Columns& columns = columns_[static_cast<size_t>(split)];
      if (drawn) columns.push(user, item, row.position, row.label, time, row.event);
      if (!explicit_) {
        // Drawn for everybody: a user's negatives do not depend on who else has rows.
        for (const int32_t negative : sampler.draw(split, time))
          if (drawn) columns.push(user, negative, row.position, 0.0F, time, row.event);
      }
      if (!drawn || split != Split::kTrain) continue;
      user_in_train_[static_cast<size_t>(user)] = 1;
      item_train_count_[static_cast<size_t>(item)] += row.label > 0;
    }
  }

  void write(const std::filesystem::path& path) const {
    SafetensorsWriter writer;
    writer.set_metadata("format", kFormat);
    writer.set_metadata("version", kVersion);
    writer.set_metadata("method", options_.cuts ? "cuts" : options_.method);
    for (size_t split = 0; split < columns_.size(); ++split) {
      columns_[split].add_to(writer, std::string(kSplits[split]));
    }
    writer.add("history_offsets", history_offsets_);
    writer.add("history_items", history_items_);
    writer.add("user_in_train", user_in_train_);
    writer.add("item_train_count", item_train_count_);
    writer.write(path);
  }

  const Dataset& dataset_;
  SplitOptions options_;
  bool explicit_;
  int64_t valid_from_ = 0;
  int64_t test_from_ = 0;
  int64_t end_ = std::numeric_limits<int64_t>::max();
  std::array<Columns, 3> columns_;
  std::vector<Candidate> scratch_;
  std::vector<int64_t> history_offsets_;
  std::vector<int32_t> history_items_;
  std::vector<uint8_t> user_in_train_;
  std::vector<int32_t> item_train_count_;
};

[[noreturn]] void damaged(const SafetensorsReader& reader, const std::string& what) {
  throw InputError(reader.path().string(), 0,
                   fmt::format("not a sound file of rows: {}; split again", what));
}

}  // namespace

std::string describe(const std::optional<TimeCuts>& cuts) {
  return cuts ? fmt::format("cuts {} {} {}", cuts->valid_from, cuts->test_from, cuts->end) : "";
}

SplitOptions SplitOptions::from(const Config& config) {
  SplitOptions options;
  options.method = config.get_choice("method", options.method, {"leave_one_out", "ratio", "time"});
  options.valid_share = config.get_number("valid_share", options.valid_share, 0, 1);
  options.test_share = config.get_number("test_share", options.test_share, 0, 1);
  if (options.valid_share + options.test_share >= 1)
    config.fail("test_share", "valid_share and test_share leave nothing to train on");
  for (const auto& [key, share] : {std::pair("valid_share", options.valid_share),
                                   std::pair("test_share", options.test_share)}) {
    if (share == 0 && options.method != "leave_one_out")
      config.fail(key, "must be above 0: a model is chosen on one and judged on the other");
  }
  options.min_history = config.get_int("min_history", options.min_history, 0, 1 << 30);
  options.negatives = config.get_int("negatives", options.negatives, 0, 1 << 20);
  options.user_share = config.get_number("user_share", options.user_share, 1e-6, 1);
  options.rating_threshold =
      config.get_number("rating_threshold", options.rating_threshold, 0, 1e9);
  options.seed = config.get_int("seed", options.seed, 0, INT64_MAX);
  config.finish();
  return options;
}

std::string_view split_name(Split split) {
  return kSplits[static_cast<size_t>(split)];
}

RowSet::RowSet(const std::filesystem::path& path)
    : reader_(std::make_unique<SafetensorsReader>(path)) {
  const auto format = reader_->metadata().find("format");
  if (format == reader_->metadata().end() || format->second != kFormat)
    throw InputError(path.string(), 0, "not an llmcf file of rows; make one by splitting");
  if (reader_->metadata("version") != kVersion)
    damaged(*reader_, "format version " + reader_->metadata("version"));
  history_offsets_ = reader_->get<int64_t>("history_offsets");
  history_items_ = reader_->get<int32_t>("history_items");
  user_in_train_ = reader_->get<uint8_t>("user_in_train");
  item_train_count_ = reader_->get<int32_t>("item_train_count");
  const auto users = static_cast<int64_t>(user_in_train_.size()) - 1;
  const auto items = static_cast<int64_t>(item_train_count_.size()) - 1;
  const bool ascending = history_offsets_.size() == user_in_train_.size() + 1 &&
                         history_offsets_.front() == 0 &&
                         std::is_sorted(history_offsets_.begin(), history_offsets_.end()) &&
                         history_offsets_.back() == static_cast<int64_t>(history_items_.size());
  if (!ascending) damaged(*reader_, "history_offsets is not ascending");
  for (size_t split = 0; split < 3; ++split) {
    const std::string name(kSplits[split]);
    Rows& rows = splits_[split];
    rows.user = reader_->get<int32_t>(name + ".user");
    const std::vector<int64_t> shape = {rows.size()};
    rows.item = reader_->get<int32_t>(name + ".item", shape);
    rows.position = reader_->get<int32_t>(name + ".position", shape);
    rows.label = reader_->get<float>(name + ".label", shape);
    rows.time = reader_->get<int64_t>(name + ".time", shape);
    rows.event = reader_->get<int64_t>(name + ".event", shape);
    for (size_t row = 0; row < rows.user.size(); ++row) {
      const int32_t user = rows.user[row];
      if (user < 1 || user > users || rows.item[row] < 1 || rows.item[row] > items)
        damaged(*reader_, "an id is out of range");
      const auto at = static_cast<size_t>(user);
      if (rows.position[row] < 0 ||
          rows.position[row] > history_offsets_[at + 1] - history_offsets_[at])
        damaged(*reader_, "a position is out of range");
    }
  }
}

void write_query_rows(const Dataset& dataset, const std::filesystem::path& base,
                      std::span<const QueryRow> queries, const std::filesystem::path& path) {
  const SafetensorsReader reader(base);
  SafetensorsWriter writer;
  for (const char* key : {"format", "version", "method"})
    writer.set_metadata(key, reader.metadata(key));
  std::array<Columns, 3> splits;
  for (const QueryRow& query : queries) {
    // Of the user's last event, where there is one: what context features read.
    const auto at = static_cast<size_t>(query.user);
    const int64_t last = dataset.user_offsets()[at + 1] - 1;
    splits[static_cast<size_t>(Split::kTest)].push(query.user, query.item, query.position, 1.0F,
                                                   query.time, std::max<int64_t>(last, 0));
  }
  for (size_t split = 0; split < splits.size(); ++split)
    splits[split].add_to(writer, std::string(kSplits[split]));
  const auto copy = [&]<typename T>(T, const std::string& name) {
    const std::span<const T> values = reader.get<T>(name);
    writer.add<T>(name, {static_cast<int64_t>(values.size())}, values);
  };
  copy(int64_t{}, "history_offsets");
  copy(int32_t{}, "history_items");
  copy(uint8_t{}, "user_in_train");
  copy(int32_t{}, "item_train_count");
  writer.write(path);
}

std::vector<int64_t> row_times(const Dataset& dataset, const SplitOptions& options) {
  std::vector<int64_t> times = Splitter(dataset, options).times(true);
  std::sort(times.begin(), times.end());
  return times;
}

void write_rows(const Dataset& dataset, const SplitOptions& options,
                const std::filesystem::path& path) {
  Splitter(dataset, options).run(path);
}

}  // namespace llmcf::data
