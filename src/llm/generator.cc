#include "llm/generator.h"

#include <algorithm>
#include <numeric>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>

#include <fmt/format.h>

#include "core/error.h"
#include "core/threads.h"
#include "text/unicode.h"

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
  while (!waiting_.empty() && running() < cache_.slots()) {
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    Running& entered = *running_.back();
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
    take(entered, draw(entered, {logits.data_ptr<float>(), static_cast<size_t>(logits.numel())}));
    if (entered.done) finish(running_.size() - 1);
  }
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
  std::vector<int32_t> drawn(running_.size());
  parallel_for(running(), 4, [&](int64_t begin, int64_t end) {
    for (auto slot = static_cast<size_t>(begin); slot < static_cast<size_t>(end); ++slot)
      drawn[slot] = draw(*running_[slot], {logits.data_ptr<float>() + slot * V, V});
  });
  for (size_t slot = 0; slot < running_.size(); ++slot)
    take(*running_[slot], drawn[slot]);
  for (size_t slot = running_.size(); slot-- > 0;)
    if (running_[slot]->done) finish(slot);
  return true;
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
