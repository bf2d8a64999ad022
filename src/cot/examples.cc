// Joins the pool with the training rows and writes the file of examples.
#include "cot/examples.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"

namespace llmcf::cot {

namespace {

constexpr const char* kFormat = "llmcf.examples/1";
constexpr size_t kEncodeBatch = 4096;

struct Example {
  int32_t user = 0, item = 0, position = 0;
  float label = 0;
  int64_t time = 0;
  const Accepted* accepted = nullptr;

  auto order() const {
    return std::make_tuple(time, user, position, label, item, accepted->answer);
  }
};

// A user may meet an item at the same position twice (repeat purchases, several ratings): time and
// label tell them apart.
std::string key_of(std::string_view user, int32_t position, std::string_view item, int64_t time,
                   float label) {
  return fmt::format("{}\n{}\n{}\n{}\n{}", user, position, item, time, label);
}

// The accepted answers whose jobs are training rows of `rows`, in the file's order.
std::vector<Example> find_examples(const std::vector<Accepted>& accepted,
                                   const data::Dataset& dataset, const data::RowSet& rows) {
  std::unordered_map<std::string, const Accepted*> by_key;
  by_key.reserve(accepted.size());
  for (const Accepted& answer : accepted)
    by_key.emplace(key_of(answer.row.user, answer.row.position, answer.row.item, answer.row.time,
                          answer.row.label),
                   &answer);
  std::vector<Example> examples;
  const data::Rows& train = rows.train();
  for (int64_t at = 0; at < train.size() && !by_key.empty(); ++at) {
    const auto row = static_cast<size_t>(at);
    const auto found =
        by_key.find(key_of(dataset.user_name(train.user[row]), train.position[row],
                           dataset.item_name(train.item[row]), train.time[row], train.label[row]));
    if (found == by_key.end()) continue;
    const Accepted* answer = found->second;
    by_key.erase(found);
    examples.push_back({.user = train.user[row],
                        .item = train.item[row],
                        .position = train.position[row],
                        .label = train.label[row],
                        .time = train.time[row],
                        .accepted = answer});
  }
  if (!by_key.empty())
    log::warn("{} answers of the pool belong to no training row and are left out", by_key.size());
  std::sort(examples.begin(), examples.end(),
            [](const Example& a, const Example& b) { return a.order() < b.order(); });
  return examples;
}

std::vector<float> encode_texts(const std::vector<Example>& examples,
                                const text::Encoder& encoder) {
  const auto width = static_cast<size_t>(encoder.dim());
  std::vector<float> vectors(examples.size() * width);
  for (size_t begin = 0; begin < examples.size(); begin += kEncodeBatch) {
    const size_t end = std::min(begin + kEncodeBatch, examples.size());
    std::vector<std::string_view> texts;
    for (size_t index = begin; index < end; ++index)
      texts.emplace_back(examples[index].accepted->text);
    encoder.encode(texts, std::span(vectors).subspan(begin * width, (end - begin) * width));
  }
  return vectors;
}

std::string reasoner_names(const std::vector<Example>& examples) {
  std::set<std::string> names;
  for (const Example& example : examples)
    names.insert(example.accepted->reasoner);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

int64_t write_examples(const Pool& pool, const data::Dataset& dataset, const data::RowSet& rows,
                       const text::Encoder& encoder, const std::filesystem::path& path) {
  const auto accepted = pool.accepted();
  const auto examples = find_examples(accepted, dataset, rows);
  if (examples.empty()) {
    throw Error(fmt::format("{}: no accepted answer belongs to a training row; fill the pool first",
                            pool.path().string()));
  }
  std::vector<int32_t> user, item, position;
  std::vector<float> label, score;
  std::vector<int64_t> time, answer;
  StringColumnBuilder text;
  for (const Example& example : examples) {
    user.push_back(example.user);
    item.push_back(example.item);
    position.push_back(example.position);
    label.push_back(example.label);
    time.push_back(example.time);
    score.push_back(static_cast<float>(example.accepted->score));
    answer.push_back(example.accepted->answer);
    text.push_back(example.accepted->text);
  }
  const auto vectors = encode_texts(examples, encoder);
  SafetensorsWriter writer;
  writer.set_metadata("format", kFormat);
  writer.set_metadata("encoder", encoder.fingerprint());
  writer.set_metadata("encoder_name", encoder.name());
  writer.set_metadata("reasoners", reasoner_names(examples));
  writer.add("user", user);
  writer.add("item", item);
  writer.add("position", position);
  writer.add("label", label);
  writer.add("time", time);
  writer.add("score", score);
  writer.add("answer", answer);
  writer.add<float>("vectors", {static_cast<int64_t>(examples.size()), encoder.dim()}, vectors);
  text.add_to(writer, "text");
  writer.write(path);
  return static_cast<int64_t>(examples.size());
}

ExampleSet::ExampleSet(const std::filesystem::path& path)
    : reader_(std::make_unique<SafetensorsReader>(path)) {
  if (const std::string& format = reader_->metadata("format"); format != kFormat)
    throw InputError(path.string(), 0,
                     fmt::format("expected format {}, found {}", kFormat, format));
  user_ = reader_->get<int32_t>("user", {-1});
  const auto count = static_cast<int64_t>(user_.size());
  item_ = reader_->get<int32_t>("item", {count});
  position_ = reader_->get<int32_t>("position", {count});
  label_ = reader_->get<float>("label", {count});
  time_ = reader_->get<int64_t>("time", {count});
  score_ = reader_->get<float>("score", {count});
  answer_ = reader_->get<int64_t>("answer", {count});
  vectors_ = reader_->get<float>("vectors", {count, -1});
  width_ = reader_->tensor("vectors").shape[1];
  text_ = StringColumn(*reader_, "text");
  if (text_.size() != count)
    throw InputError(path.string(), 0,
                     fmt::format("{} texts for {} examples", text_.size(), count));
}

}  // namespace llmcf::cot
