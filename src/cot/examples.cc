// Joins the pool with the training rows and writes the file of examples.
#include "cot/examples.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "core/strings.h"
#include "text/lsa.h"

namespace llmcf::cot {

namespace {

constexpr const char* kFormat = "llmcf.examples/1";
constexpr size_t kEncodeBatch = 4096;

struct Example {
  int32_t user = 0, item = 0, position = 0;
  float label = 0;
  int64_t time = 0;
  const Accepted* accepted = nullptr;
  std::string_view text = {};  // of `accepted`, possibly shortened

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
                        .accepted = answer,
                        .text = answer->text});
  }
  if (!by_key.empty())
    log::warn("{} answers of the pool belong to no training row and are left out", by_key.size());
  std::sort(examples.begin(), examples.end(),
            [](const Example& a, const Example& b) { return a.order() < b.order(); });
  return examples;
}

// Uniform in [0, 1), by the row alone: the same whatever else is in the pool.
double draw(std::string_view stream, const Example& example, int64_t seed) {
  const JobRow& row = example.accepted->row;
  return Random(static_cast<uint64_t>(seed),
                fmt::format("{}\n{}", stream,
                            key_of(row.user, row.position, row.item, row.time, row.label)))
      .uniform();
}

// Keeps the best `top_share` of each label, in the given order.
void keep_best(std::vector<Example>& examples, const ExampleOptions& options) {
  std::vector<uint8_t> kept(examples.size(), 0);
  for (const bool positive : {false, true}) {
    std::vector<std::tuple<double, double, size_t>> ranked;  // best first when sorted
    for (size_t index = 0; index < examples.size(); ++index) {
      const Example& example = examples[index];
      if ((example.label > 0.5F) != positive) continue;
      ranked.emplace_back(-example.accepted->score, draw("pool.ties", example, options.seed),
                          index);
    }
    std::sort(ranked.begin(), ranked.end());
    const double wanted = std::ceil(options.top_share * static_cast<double>(ranked.size()) - 1e-9);
    for (size_t rank = 0; static_cast<double>(rank) < wanted; ++rank)
      kept[std::get<2>(ranked[rank])] = 1;
  }
  std::vector<Example> best;
  for (size_t index = 0; index < examples.size(); ++index) {
    if (kept[index] != 0) best.push_back(examples[index]);
  }
  examples = std::move(best);
}

// Hands the answers of each label round in one cycle, so that nobody keeps their own (but for a
// single example of a label).
void shuffle_answers(std::vector<Example>& examples, int64_t seed) {
  for (const bool positive : {false, true}) {
    std::vector<size_t> cycle;
    for (size_t index = 0; index < examples.size(); ++index)
      if ((examples[index].label > 0.5F) == positive) cycle.push_back(index);
    if (cycle.empty()) continue;
    Random(static_cast<uint64_t>(seed), "pool.shuffle").shuffle(cycle);
    const Example first = examples[cycle.front()];
    for (size_t at = 0; at < cycle.size(); ++at) {
      const Example& next = at + 1 < cycle.size() ? examples[cycle[at + 1]] : first;
      examples[cycle[at]].accepted = next.accepted;
      examples[cycle[at]].text = next.text;
    }
  }
}

void expect_some(const std::vector<Example>& examples, const Pool& pool, const std::string& key,
                 double value, const std::string& fix) {
  if (!examples.empty()) return;
  throw Error(fmt::format("{}: pool.{} is {}: no example is left; {}", pool.path().string(), key,
                          value, fix));
}

// What `options` leave of the examples, in the same order.
void select(std::vector<Example>& examples, const Pool& pool, const ExampleOptions& options) {
  double best = 0;
  for (const Example& example : examples)
    best = std::max(best, example.accepted->score);
  std::erase_if(examples, [&](const Example& example) {
    return example.accepted->score < options.min_score;
  });
  expect_some(examples, pool, "min_score", options.min_score,
              fmt::format("the best one scores {:.3f}: lower pool.min_score", best));
  if (options.top_share < 1) keep_best(examples, options);
  if (options.share < 1) {
    std::erase_if(examples, [&](const Example& example) {
      return draw("pool.share", example, options.seed) >= options.share;
    });
  }
  expect_some(examples, pool, "share", options.share, "raise pool.share");
  for (Example& example : examples)
    example.text = first_words(example.text, options.words);
  if (options.shuffle) shuffle_answers(examples, options.seed);
}

std::vector<float> encode_texts(const std::vector<Example>& examples,
                                const text::Encoder& encoder) {
  const auto width = static_cast<size_t>(encoder.dim());
  std::vector<float> vectors(examples.size() * width);
  for (size_t begin = 0; begin < examples.size(); begin += kEncodeBatch) {
    const size_t end = std::min(begin + kEncodeBatch, examples.size());
    std::vector<std::string_view> texts;
    for (size_t index = begin; index < end; ++index)
      texts.emplace_back(examples[index].text);
    encoder.encode(texts, std::span(vectors).subspan(begin * width, (end - begin) * width));
  }
  return vectors;
}

// Nothing if the run's encoder is to be used.
std::optional<text::Lsa> own_encoder(const std::vector<Example>& examples,
                                     const text::Encoder& encoder, const ExampleOptions& options) {
  if (!options.own_encoder) return std::nullopt;
  std::vector<std::string_view> texts;
  for (const Example& example : examples)
    texts.emplace_back(example.text);
  text::LsaOptions fit;
  fit.width = encoder.dim();
  return text::Lsa::fit(texts, fit);
}

std::string reasoner_names(const std::vector<Example>& examples) {
  std::set<std::string> names;
  for (const Example& example : examples)
    names.insert(example.accepted->reasoner);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

ExampleOptions ExampleOptions::from(const Config& config) {
  ExampleOptions options;
  options.min_score = config.get_number("min_score", options.min_score, 0, 1);
  options.top_share = config.get_number("top_share", options.top_share, 0, 1);
  options.share = config.get_number("share", options.share, 0, 1);
  options.words = config.get_int("words", options.words, 0, std::numeric_limits<int64_t>::max());
  options.own_encoder = config.get_choice("encoder", "run", {"run", "own"}) == "own";
  options.shuffle = config.get<bool>("shuffle", options.shuffle);
  options.seed = config.get_int("seed", options.seed, 0, std::numeric_limits<int64_t>::max());
  config.finish();
  if (options.top_share == 0) config.fail("top_share", "0 leaves no example: give (0, 1]");
  if (options.share == 0) config.fail("share", "0 leaves no example: give (0, 1]");
  return options;
}

std::string_view first_words(std::string_view text, int64_t words) {
  if (words <= 0) return text;
  const auto is_space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  int64_t begun = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size(); ++at) {
    if (is_space(text[at])) {
      if (inside && begun == words) return text.substr(0, at);
      inside = false;
    } else if (!inside) {
      inside = true;
      ++begun;
    }
  }
  return text;
}

int64_t write_examples(const Pool& pool, const data::Dataset& dataset, const data::RowSet& rows,
                       const text::Encoder& encoder, const std::filesystem::path& path,
                       const ExampleOptions& options) {
  const auto accepted = pool.accepted();
  auto examples = find_examples(accepted, dataset, rows);
  if (examples.empty()) {
    throw Error(fmt::format("{}: no accepted answer belongs to a training row; fill the pool first",
                            pool.path().string()));
  }
  const auto found = static_cast<int64_t>(examples.size());
  select(examples, pool, options);
  if (const auto kept = static_cast<int64_t>(examples.size()); kept < found)
    log::info("pool: {} of {} examples kept", with_commas(kept), with_commas(found));
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
    text.push_back(example.text);
  }
  const auto own = own_encoder(examples, encoder, options);
  const text::Encoder& used = own ? *own : encoder;
  const auto vectors = encode_texts(examples, used);
  SafetensorsWriter writer;
  writer.set_metadata("format", kFormat);
  writer.set_metadata("encoder", used.fingerprint());
  writer.set_metadata("encoder_name", used.name());
  writer.set_metadata("reasoners", reasoner_names(examples));
  writer.add("user", user);
  writer.add("item", item);
  writer.add("position", position);
  writer.add("label", label);
  writer.add("time", time);
  writer.add("score", score);
  writer.add("answer", answer);
  writer.add<float>("vectors", {static_cast<int64_t>(examples.size()), used.dim()}, vectors);
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
