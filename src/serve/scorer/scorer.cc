#include "serve/scorer/scorer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"
#include "retrieval/kernels.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kBlock = 64;  // candidates whose activations are in the cache together
constexpr int64_t kGateStatistics = 5;

class Clock {
 public:
  // Adds the time since the last call to `total`.
  void lap(double& total) {
    const auto now = std::chrono::steady_clock::now();
    total += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// Statistics of a candidate's slots as models/gate.h defines them.
void gate_statistics(const Slots& slots, std::span<const int32_t> labels, int64_t candidate,
                     float* out) {
  float best[2] = {-1.0F, -1.0F}, sum[2] = {0.0F, 0.0F};
  int64_t count[2] = {0, 0};
  for (int64_t k = 0; k < slots.k; ++k) {
    const int64_t at = candidate * slots.k + k;
    if (slots.ids[at] < 0) continue;
    const auto label = static_cast<size_t>(labels[static_cast<size_t>(slots.ids[at])]);
    best[label] = std::max(best[label], slots.similarity[at]);
    sum[label] += slots.similarity[at];
    ++count[label];
  }
  std::fill_n(out, kGateStatistics, 0.0F);
  for (size_t label = 0; label < 2; ++label) {
    if (count[label] == 0) continue;
    out[2 * (1 - label)] = best[label];
    out[2 * (1 - label) + 1] = sum[label] / static_cast<float>(count[label]);
  }
  const int64_t masked = slots.k - count[0] - count[1];
  out[4] = slots.k == 0 ? 1.0F : static_cast<float>(masked) / static_cast<float>(slots.k);
}

bool share_a_value(std::span<const int32_t> left, std::span<const int32_t> right) {
  for (const int32_t id : left)
    if (std::find(right.begin(), right.end(), id) != right.end()) return true;
  return false;
}

}  // namespace

Scorer::Scorer(std::shared_ptr<const Bundle> bundle)
    : bundle_(std::move(bundle)), fields_(*bundle_, layout_) {
  const BundleSpec& spec = bundle_->spec();
  context_ = make_context({*bundle_, fields_, layout_});
  const int64_t width = context_ == nullptr ? 0 : context_->width();
  backbone_ = make_backbone(spec.backbone, {*bundle_, fields_, width, layout_,
                                            Config::parse(spec.backbone_options, "bundle")});
  if (spec.context.evidence && spec.context.in_context()) slot_features_ = spec.slot_features();
  for (int field = 0; field < static_cast<int>(spec.fields.size()); ++field)
    if (models::is_shared_feature(spec.fields[static_cast<size_t>(field)].spec))
      shared_fields_.push_back(field);
  const auto copy = [&](const char* name, std::vector<float>& into) {
    const auto values = bundle_->weight(name);
    into.insert(into.end(), values.begin(), values.end());
  };
  if (spec.context.alignment) copy("alignment.weight", alignment_);
  if (spec.context.gated) {
    copy("gate.weight", gate_);
    copy("gate.bias", gate_);
  }
  const SafetensorsReader& reader = bundle_->reader();
  if (spec.context.kind == "kar") {
    const int64_t kar_width = bundle_->weight_shape("context.adaptor.gate0.weight").at(1);
    kar_none_.assign(static_cast<size_t>(kar_width), 0.0F);
    kar_users_ = reader.get<float>("kar.user", {spec.users + 1, kar_width});
    if (reader.contains("kar.item"))
      kar_items_ = reader.get<float>("kar.item", {spec.items + 1, kar_width});
  }
  if (reader.contains("items.static") &&
      reader.tensor("items.static").shape.at(1) != layout_.width())
    throw InputError(reader.path().string(), 0,
                     fmt::format("items.static has rows of {} values, this program expects {}: "
                                 "publish the run again",
                                 reader.tensor("items.static").shape.at(1), layout_.width()));
}

const float* Scorer::text_of(const Catalogue& catalogue, int32_t row) const {
  if (!kar_none_.empty()) {
    const auto width = static_cast<int64_t>(kar_none_.size());
    return catalogue.is_added(row) || kar_items_.empty() ? kar_none_.data()
                                                         : kar_items_.data() + row * width;
  }
  return bundle_->item_text().empty() ? nullptr : catalogue.text(row);
}

void Scorer::fill_item(const Catalogue& catalogue, int32_t row, float* constants,
                       ScratchArena& arena) const {
  std::fill_n(constants, layout_.width(), 0.0F);
  fields_.fill_item(catalogue, row, constants);
  if (context_ != nullptr) context_->fill_item(text_of(catalogue, row), constants, arena);
  backbone_->fill_item(constants);
}

RequestParts Scorer::request_parts(const Catalogue& catalogue, const Sample& sample,
                                   ScratchArena& arena) const {
  RequestParts parts;
  float* fields =
      arena.floats(static_cast<int64_t>(fields_.request_fields().size()) * fields_.dim());
  parts.first_order = fields_.fill_request(catalogue, sample, fields);
  parts.fields = fields;
  const auto length = static_cast<int64_t>(sample.history.size());
  if (bundle_->reader().contains("items.static")) {
    auto* history = arena.array<const float*>(length);
    for (int64_t i = 0; i < length; ++i)
      history[i] = catalogue.constants(sample.history[static_cast<size_t>(i)]);
    parts.history = history;
    parts.history_count = length;
  }
  if (!kar_none_.empty())
    parts.kar = sample.kar != nullptr
                    ? sample.kar
                    : kar_users_.data() + sample.user * static_cast<int64_t>(kar_none_.size());
  if (context_ == nullptr || context_->text_width() == 0 || bundle_->item_text().empty())
    return parts;
  const int64_t W = bundle_->spec().text_dim;
  float* mean = arena.zeros(W);
  for (const int32_t item : sample.history)
    retrieval::kernels::add_to(mean, catalogue.text(item), W);
  if (length > 0) retrieval::kernels::scale_to(mean, mean, 1.0F / static_cast<float>(length), W);
  float* mapped = arena.floats(context_->text_width());
  context_->map_text(mean, mapped, arena);
  parts.history_text = mapped;
  return parts;
}

// Candidates with the same examples become neighbours. Returns how many different sets there are.
int64_t Scorer::sort_by_examples(const ScoreInput& input, ScratchArena& arena,
                                 int32_t* order) const {
  const Slots& slots = *input.slots;
  auto* keys = arena.array<uint64_t>(slots.candidates);
  for (int64_t i = 0; i < slots.candidates; ++i) {
    uint64_t key = 0xcbf29ce484222325ULL;
    for (int64_t k = 0; k < slots.k; ++k)
      key = (key ^ static_cast<uint32_t>(slots.ids[i * slots.k + k])) * 0x9e3779b97f4a7c15ULL;
    keys[i] = key ^ (key >> 29);
  }
  std::sort(order, order + slots.candidates, [keys](int32_t l, int32_t r) {
    return keys[l] != keys[r] ? keys[l] < keys[r] : l < r;
  });
  int64_t distinct = slots.candidates > 0 ? 1 : 0;
  for (int64_t i = 1; i < slots.candidates; ++i)
    distinct += keys[order[i]] != keys[order[i - 1]] ? 1 : 0;
  return distinct;
}

// What retrieval knows of each slot, models/batch.h: [count, K, G].
void Scorer::write_evidence(const ScoreInput& input, const int32_t* order, int64_t count,
                            float* out) const {
  const Slots& slots = *input.slots;
  const Examples& examples = bundle_->examples();
  std::fill_n(out, count * slots.k * slot_features_, 0.0F);
  for (int64_t i = 0; i < count; ++i) {
    const int32_t item = input.candidates[static_cast<size_t>(order[i])];
    for (int64_t k = 0; k < slots.k; ++k, out += slot_features_) {
      const int64_t at = order[i] * slots.k + k;
      if (slots.ids[at] < 0) continue;
      const auto example = static_cast<size_t>(slots.ids[at]);
      float* next = out;
      *next++ = models::slot_similarity(slots.similarity[at]);
      *next++ = models::slot_similarity(slots.history_similarity[at]);
      *next++ = models::slot_similarity(slots.target_similarity[at]);
      *next++ = models::slot_age(input.time - examples.time[example]);
      *next++ = examples.item[example] == item ? 1.0F : 0.0F;
      for (const int field : shared_fields_) {
        const auto f = static_cast<size_t>(field);
        *next++ = share_a_value(input.catalogue.ids_of(f, examples.item[example]),
                                input.catalogue.ids_of(f, item))
                      ? 1.0F
                      : 0.0F;
      }
    }
  }
}

// Gate and alignment.
void Scorer::finish_context(const ScoreInput& input, const int32_t* order,
                            const Matrix& context) const {
  const int64_t width = context_->width();
  for (int64_t i = 0; i < context.count; ++i) {
    float* row = context.row(i);
    if (!gate_.empty()) {
      float statistics[kGateStatistics] = {0, 0, 0, 0, 1};
      if (input.slots != nullptr)
        gate_statistics(*input.slots, bundle_->examples().label, order[i], statistics);
      float logit = gate_.back();
      for (size_t s = 0; s < kGateStatistics; ++s)
        logit += gate_[s] * statistics[s];
      const float gate = 1.0F / (1.0F + std::exp(-logit));
      for (int64_t c = 0; c < width; ++c)
        row[c] *= gate;
    }
    if (!alignment_.empty()) {
      const float s = 4 * (input.slots == nullptr ? 0.0F : input.slots->alignment[order[i]]) - 2;
      for (int64_t c = 0; c < width; ++c)
        row[c] += alignment_[static_cast<size_t>(2 * c)] * s +
                  alignment_[static_cast<size_t>(2 * c) + 1] * s * s;
    }
  }
}

void Scorer::score_block(const ScoreInput& input, const RequestState* backbone,
                         const RequestState* context, std::span<const int32_t> order,
                         ScratchArena& arena, std::span<float> logits, ScoreCost& cost) const {
  const ScratchArena::Scope scope(arena);
  Clock clock;
  const auto count = static_cast<int64_t>(order.size());
  auto* items = arena.array<const float*>(count);
  for (int64_t i = 0; i < count; ++i)
    items[i] = input.catalogue.constants(
        input.candidates[static_cast<size_t>(order[static_cast<size_t>(i)])]);
  Block block{.count = count, .items = items, .context = {}};
  if (context_ != nullptr) {
    const int64_t K = input.slots == nullptr ? 0 : input.slots->k;
    auto* slots = arena.array<const int32_t*>(count);
    auto* evidence = arena.array<const float*>(count);
    auto* attention = arena.array<float*>(count);
    float* features = arena.floats(count * K * slot_features_);
    if (slot_features_ > 0 && K > 0) write_evidence(input, order.data(), count, features);
    for (int64_t i = 0; i < count; ++i) {
      slots[i] = K == 0 ? nullptr : input.slots->ids + order[static_cast<size_t>(i)] * K;
      evidence[i] = features + i * K * slot_features_;
      attention[i] = input.attention == nullptr
                         ? nullptr
                         : input.attention + order[static_cast<size_t>(i)] * K;
    }
    clock.lap(cost.evidence_seconds);
    block.context = Matrix::make(count, context_->width(), arena);
    context_->compute(context,
                      {.count = count,
                       .items = items,
                       .slots = slots,
                       .evidence = evidence,
                       .k = K,
                       .attention = input.attention == nullptr ? nullptr : attention},
                      arena, block.context);
    finish_context(input, order.data(), block.context);
    clock.lap(cost.context_seconds);
  }
  float* out = arena.floats(count);
  backbone_->score(backbone, block, arena, out);
  for (int64_t i = 0; i < count; ++i)
    logits[static_cast<size_t>(order[static_cast<size_t>(i)])] = out[i];
  clock.lap(cost.backbone_seconds);
}

void Scorer::score(const ScoreInput& input, ScratchArena& arena, std::span<float> logits,
                   ScoreCost* cost) const {
  LLMCF_ASSERT(logits.size() == input.candidates.size());
  const ScratchArena::Scope scope(arena);
  const kernels::DenormalsAreZero faster;
  ScoreCost unused;
  ScoreCost& told = cost == nullptr ? unused : *cost;
  Clock clock;
  const RequestParts parts = request_parts(input.catalogue, input.sample, arena);
  const RequestState* context = context_ == nullptr ? nullptr : context_->prepare(parts, arena);
  const RequestState* backbone = backbone_->prepare(parts, arena);
  const auto count = static_cast<int64_t>(input.candidates.size());
  auto order = arena.span<int32_t>(count);
  std::iota(order.begin(), order.end(), 0);
  if (input.slots != nullptr && bundle_->spec().context.reads_examples())
    told.distinct_examples += sort_by_examples(input, arena, order.data());
  clock.lap(told.request_seconds);
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const auto size = static_cast<size_t>(std::min(kBlock, count - begin));
    score_block(input, backbone, context, order.subspan(static_cast<size_t>(begin), size), arena,
                logits, told);
  }
}

}  // namespace llmcf::serve
