#include "llm/generator.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/threads.h"

namespace llmcf::llm {

namespace {

constexpr int64_t kPrefill = 256;  // tokens of a prompt at a time: attention's scores stay small

// Bytes at the end of `text` that may become a UTF-8 character with more of them.
size_t open_bytes(std::string_view text) {
  const size_t most = std::min<size_t>(3, text.size());
  for (size_t back = 1; back <= most; ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return 0;
    if (byte < 0xC0) continue;  // inside a character
    const size_t wanted = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
    return back < wanted ? back : 0;
  }
  return 0;
}

// Bytes at the end of `text` that a stop string begins with.
size_t begun_stop(std::string_view text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops)
    for (size_t size = std::min(stop.size() - 1, text.size()); size > longest; --size)
      if (text.ends_with(std::string_view(stop).substr(0, size))) longest = size;
  return longest;
}

torch::Tensor row_of(const std::vector<int64_t>& values, int64_t rows, torch::Device device) {
  return at::tensor(values, torch::kLong).view({rows, -1}).to(device);
}

}  // namespace

const char* finish_name(Finish finish) {
  switch (finish) {
    case Finish::kEnd:
    case Finish::kStop:
      return "stop";
    case Finish::kLength:
      return "length";
    case Finish::kCancelled:
      return "cancelled";
  }
  return "";
}

struct Generator::Running {
  Running(GenerationRequest wanted, OnDone when_done, OnText with_text)
      : request(std::move(wanted)),
        on_done(std::move(when_done)),
        on_text(std::move(with_text)),
        random(request.seed, fmt::format("generation {}", request.sample)) {}
  GenerationRequest request;
  OnDone on_done;
  OnText on_text;
  Random random;
  Generation result = {};
  std::vector<int32_t> seen = {};  // prompt and generated ids, all of which the cache will hold
  size_t told = 0;                 // bytes of the text that on_text got
  bool done = false;
  size_t slot = 0;
  // Beam search: the first beam leads, and has the request and all lanes (itself the first); the
  // others only hold their place.
  std::unique_ptr<BeamSearch> search = {};
  std::vector<Running*> lanes = {};
  bool follows = false;
};

Generator::Generator(const LanguageModel& model, const text::LanguageTokenizer& tokenizer,
                     const GeneratorOptions& options)
    : model_(model), tokenizer_(tokenizer) {
  if (options.slots < 1) throw Error(fmt::format("{} slots, expected at least 1", options.slots));
  const int64_t longest = model.config().max_positions;
  const int64_t capacity = options.capacity == 0 ? longest : options.capacity;
  if (capacity < 2 || capacity > longest)
    throw Error(fmt::format("a slot of {} tokens: the model knows 2 to {}", capacity, longest));
  if (tokenizer.size() > model.config().vocabulary)
    throw Error(fmt::format("the tokenizer has {} tokens, the model {}", tokenizer.size(),
                            model.config().vocabulary));
  cache_ = model.make_cache(options.slots, capacity);
}

Generator::~Generator() = default;

int64_t Generator::running() const {
  return static_cast<int64_t>(running_.size());
}

void Generator::check(const GenerationRequest& request) const {
  request.sampling.check();
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (length < 1) throw Error("a prompt is empty: give at least one token");
  if (length >= capacity())
    throw Error(fmt::format("a prompt has {} tokens and leaves no room in a slot of {}", length,
                            capacity()));
  if (request.max_tokens < 1)
    throw Error(fmt::format("max_tokens is {}, expected at least 1", request.max_tokens));
  if (request.beams < 1 || request.beams > cache_.slots())
    throw Error(fmt::format("{} beams, expected 1 to the number of slots, {}", request.beams,
                            cache_.slots()));
  if (request.returned < 1 || request.returned > request.beams)
    throw Error(fmt::format("{} results of {} beams", request.returned, request.beams));
  for (const int32_t id : request.prompt)
    if (id < 0 || id >= model_.config().vocabulary)
      throw Error(
          fmt::format("token {} is outside the vocabulary of {}", id, model_.config().vocabulary));
  for (const std::string& stop : request.stop)
    if (stop.empty()) throw Error("a stop string is empty");
}

void Generator::submit(GenerationRequest request, OnDone on_done, OnText on_text) {
  check(request);
  waiting_.push_back(
      std::make_unique<Running>(std::move(request), std::move(on_done), std::move(on_text)));
}

void Generator::admit() {
  while (!waiting_.empty() && running() + waiting_.front()->request.beams <= cache_.slots()) {
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    Running& entered = *running_.back();
    entered.slot = running_.size() - 1;
    entered.seen = entered.request.prompt;
    if (entered.on_text && !entered.on_text({})) {  // nobody waits for it any more
      entered.result.finish = Finish::kCancelled;
      finish(running_.size() - 1);
      continue;
    }
    entered.result.prompt_tokens = static_cast<int64_t>(entered.seen.size());
    torch::Tensor hidden;
    for (int64_t first = 0; first < entered.result.prompt_tokens; first += kPrefill) {
      const int64_t last = std::min(entered.result.prompt_tokens, first + kPrefill);
      std::vector<int64_t> ids(entered.seen.begin() + first, entered.seen.begin() + last);
      std::vector<int64_t> positions(ids.size());
      std::iota(positions.begin(), positions.end(), first);
      const CacheView view{cache_, running() - 1, last};
      hidden = model_.hidden(
          {row_of(ids, 1, model_.device()), row_of(positions, 1, model_.device()), {}}, &view);
    }
    torch::Tensor logits =
        model_.logits(hidden.narrow(1, hidden.size(1) - 1, 1)).view({-1}).cpu().contiguous();
    const std::span<float> row{logits.data_ptr<float>(), static_cast<size_t>(logits.numel())};
    if (entered.request.beams > 1) {
      begin_beams(entered, row);
    } else {
      take(entered, draw(entered, row));
    }
    while (!running_.empty() && running_.back()->done)
      finish(running_.size() - 1);
  }
}

// The other beams take the next slots.
void Generator::begin_beams(Running& leader, std::span<float> logits) {
  const auto length = static_cast<int64_t>(leader.seen.size());
  leader.search = std::make_unique<BeamSearch>(leader.request, tokenizer_, model_.config().end_ids,
                                               cache_.capacity() - length);
  leader.lanes = {&leader};
  for (int64_t beam = 1; beam < leader.request.beams; ++beam) {
    running_.push_back(std::make_unique<Running>(GenerationRequest{}, OnDone(), OnText()));
    Running& lane = *running_.back();
    lane.slot = running_.size() - 1;
    lane.seen = leader.seen;
    lane.follows = true;
    leader.lanes.push_back(&lane);
    cache_.copy(static_cast<int64_t>(leader.slot), static_cast<int64_t>(lane.slot), length);
  }
  take_beams(leader, leader.search->advance({logits}));
}

// Lane i goes on from where extension i comes from; without extensions the search is over.
void Generator::take_beams(Running& leader, const std::vector<BeamSearch::Extension>& extensions) {
  const bool cancelled = leader.on_text && !leader.on_text({});
  if (cancelled) leader.result.finish = Finish::kCancelled;
  if (cancelled || extensions.empty()) {
    for (Running* lane : leader.lanes)
      lane->done = true;
    if (cancelled) return;
    std::vector<Generation> found = leader.search->results();
    leader.result = std::move(found.front());
    leader.result.others.assign(std::make_move_iterator(found.begin() + 1),
                                std::make_move_iterator(found.end()));
    if (leader.request.on_score)
      for (const TokenScore& score : leader.result.scores)
        leader.request.on_score(score);
    if (leader.on_text) leader.on_text(leader.result.text);
    return;
  }
  std::vector<int64_t> slots, parents;
  std::vector<std::vector<int32_t>> seen;
  for (size_t beam = 0; beam < extensions.size(); ++beam) {
    const Running& parent = *leader.lanes[static_cast<size_t>(extensions[beam].parent)];
    slots.push_back(static_cast<int64_t>(leader.lanes[beam]->slot));
    parents.push_back(static_cast<int64_t>(parent.slot));
    seen.push_back(parent.seen);
    seen.back().push_back(extensions[beam].token);
  }
  cache_.reorder(slots, parents, static_cast<int64_t>(leader.request.prompt.size()),
                 static_cast<int64_t>(leader.seen.size()));
  for (size_t beam = 0; beam < extensions.size(); ++beam)
    leader.lanes[beam]->seen = std::move(seen[beam]);
}

// One token out of `logits`. Touches nothing but its own request's state.
int32_t Generator::draw(Running& running, std::span<float> logits) const {
  const GenerationRequest& request = running.request;
  Generation& result = running.result;
  const bool scored = request.log_probabilities >= 0;
  const std::vector<float> own =
      scored ? std::vector<float>(logits.begin(), logits.end()) : std::vector<float>();
  const int32_t id = sample(logits, running.seen, request.sampling, running.random);
  if (request.log_probabilities > 0 && running.seen.size() == request.prompt.size())
    for (const auto& [other, odds] : most_likely(own, request.log_probabilities))
      result.verdicts.emplace_back(other < tokenizer_.size() ? tokenizer_.bytes(other) : "", odds);
  const auto& ends = model_.config().end_ids;
  if (scored && std::find(ends.begin(), ends.end(), id) == ends.end())
    result.scores.push_back(
        {id, log_probability(own, id), most_likely(own, request.log_probabilities)});
  return id;
}

// What the token does to the text.
void Generator::take(Running& running, int32_t id) {
  const GenerationRequest& request = running.request;
  Generation& result = running.result;
  running.seen.push_back(id);
  const auto& ends = model_.config().end_ids;
  bool flush = false;
  if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
    result.finish = Finish::kEnd;
    running.done = flush = true;
  } else {
    result.ids.push_back(id);
    if (request.on_score && !result.scores.empty()) request.on_score(result.scores.back());
    std::string piece = id < tokenizer_.size() ? tokenizer_.bytes(id) : std::string();
    result.text += piece;
    size_t first = std::string::npos;
    for (const std::string& stop : request.stop)
      first = std::min(first, result.text.find(stop));
    if (first != std::string::npos) {
      result.text.resize(first);
      result.finish = Finish::kStop;
      running.done = flush = true;
    } else if (static_cast<int64_t>(result.ids.size()) >= request.max_tokens ||
               static_cast<int64_t>(running.seen.size()) >= cache_.capacity()) {
      result.finish = Finish::kLength;
      running.done = flush = true;
    }
  }
  if (!running.on_text) return;
  const std::string_view text = result.text;
  const size_t held = flush ? 0 : std::max(open_bytes(text), begun_stop(text, request.stop));
  const size_t ready = text.size() - held;
  const size_t told = std::min(running.told, ready);  // a stop text never takes back what was told
  if (!running.on_text(text.substr(told, ready - told)) && !running.done) {
    result.finish = Finish::kCancelled;
    running.done = true;
  }
  running.told = std::max(running.told, ready);
}

// Takes the slot's place by the last one.
void Generator::finish(size_t slot) {
  std::unique_ptr<Running> done = std::move(running_[slot]);
  const size_t last = running_.size() - 1;
  if (slot != last) {
    cache_.copy(static_cast<int64_t>(last), static_cast<int64_t>(slot),
                static_cast<int64_t>(running_[last]->seen.size()) - 1);
    running_[slot] = std::move(running_[last]);
    running_[slot]->slot = slot;
  }
  running_.pop_back();
  if (done->on_done) done->on_done(std::move(done->result));
}

bool Generator::step() {
  const torch::NoGradGuard no_gradients;
  admit();
  if (running_.empty()) return !waiting_.empty();
  std::vector<int64_t> ids, positions;
  int64_t longest = 0;
  for (const auto& running : running_) {
    ids.push_back(running->seen.back());
    positions.push_back(static_cast<int64_t>(running->seen.size()) - 1);
    longest = std::max(longest, positions.back() + 1);
  }
  const CacheView view{cache_, 0, longest};
  const torch::Tensor hidden = model_.hidden(
      {row_of(ids, running(), model_.device()), row_of(positions, running(), model_.device()), {}},
      &view);
  torch::Tensor logits = model_.logits(hidden).view({running(), -1}).cpu().contiguous();
  const auto V = static_cast<size_t>(logits.size(1));
  const auto row = [&](size_t slot) {
    return std::span<float>(logits.data_ptr<float>() + slot * V, V);
  };
  std::vector<int32_t> drawn(running_.size());
  std::vector<std::vector<BeamSearch::Extension>> extended(running_.size());
  parallel_for(running(), 4, [&](int64_t begin, int64_t end) {
    for (auto slot = static_cast<size_t>(begin); slot < static_cast<size_t>(end); ++slot) {
      Running& one = *running_[slot];
      if (one.follows) continue;
      if (one.search == nullptr) {
        drawn[slot] = draw(one, row(slot));
        continue;
      }
      std::vector<std::span<float>> rows;
      for (const Running* lane : one.lanes)
        rows.push_back(row(lane->slot));
      extended[slot] = one.search->advance(rows);
    }
  });
  for (size_t slot = 0; slot < running_.size(); ++slot) {
    Running& one = *running_[slot];
    if (one.follows) continue;
    one.search == nullptr ? take(one, drawn[slot]) : take_beams(one, extended[slot]);
  }
  for (size_t slot = running_.size(); slot-- > 0;)
    if (running_[slot]->done) finish(slot);
  return true;
}

void Generator::cancel_all() {
  auto dropped = std::exchange(running_, {});
  for (auto& waiting : std::exchange(waiting_, {}))
    dropped.push_back(std::move(waiting));
  for (auto& one : dropped) {
    one->result.finish = Finish::kCancelled;
    if (one->on_done) one->on_done(std::move(one->result));
  }
}

std::vector<Generation> Generator::run(std::vector<GenerationRequest> requests) {
  std::vector<Generation> results(requests.size());
  for (size_t i = 0; i < requests.size(); ++i)
    submit(std::move(requests[i]), [&results, i](Generation g) { results[i] = std::move(g); });
  while (step()) {
  }
  return results;
}

}  // namespace llmcf::llm
