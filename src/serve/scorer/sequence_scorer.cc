#include "serve/scorer/sequence_scorer.h"

#include <algorithm>

#include "core/error.h"
#include "retrieval/kernels.h"

namespace llmcf::serve {

namespace {

const BundleSequence& sequence_of(const Bundle& bundle) {
  if (!bundle.spec().sequence)
    throw InputError(bundle.reader().path().string(), 0,
                     "is a bundle of a click model, not of a sequence backbone");
  return *bundle.spec().sequence;
}

// What training tells a model of each slot where the target is unknown (train/sequence_builder.cc).
void write_evidence(const Slots& slots, std::span<const int64_t> times, int64_t now, float* out) {
  constexpr int64_t G = models::kFixedSlotFeatures;
  std::fill_n(out, slots.k * G, 0.0F);
  for (int64_t k = 0; k < slots.k; ++k, out += G) {
    if (slots.ids[k] < 0) continue;
    out[0] = out[1] = models::slot_similarity(slots.similarity[k]);
    out[3] = models::slot_age(now - times[static_cast<size_t>(slots.ids[k])]);
  }
}

}  // namespace

SequenceScorer::SequenceScorer(std::shared_ptr<const Bundle> bundle)
    : bundle_(std::move(bundle)), fields_(*bundle_, layout_), width_(bundle_->spec().embed_dim) {
  const BundleSpec& spec = bundle_->spec();
  const BundleSequence& sequence = sequence_of(*bundle_);
  user_ids_ = sequence.user_ids;
  context_weight_ = static_cast<float>(sequence.context_weight);
  concat_fusion_ = sequence.concat_fusion;
  context_ = make_context({*bundle_, fields_, layout_});
  backbone_ = make_sequence_backbone(spec.backbone,
                                     {*bundle_, Config::parse(spec.backbone_options, "bundle")});
  items_ = bundle_->weight("tables.item_id");
  if (bundle_->has_weight("tables.user_id")) users_ = bundle_->weight("tables.user_id");
  if (context_ == nullptr) return;
  if (concat_fusion_) {
    fusion0_ = Linear(LinearWeights::of(*bundle_, "fusion0"));
    fusion1_ = Linear(LinearWeights::of(*bundle_, "fusion1"));
  }
  const Catalogue catalogue(bundle_);
  ScratchArena arena;
  unknown_target_.assign(static_cast<size_t>(layout_.width()), 0.0F);
  fields_.fill_item(catalogue, 0, unknown_target_.data());
  context_->fill_item(bundle_->item_text().empty() ? nullptr : catalogue.text(0),
                      unknown_target_.data(), arena);
}

SequenceScorer::~SequenceScorer() = default;

bool SequenceScorer::reads_examples() const {
  return bundle_->spec().context.reads_examples() && bundle_->spec().examples > 0;
}

std::span<const int32_t> SequenceScorer::window(const HistoryInput& input,
                                                ScratchArena& arena) const {
  const int64_t length = bundle_->spec().history_length;
  auto rows = arena.span<int32_t>(length);
  size_t first = rows.size();  // filled from the end
  for (size_t i = input.history.size(); i-- > 0 && first > 0;)
    if (!input.catalogue.is_added(input.history[i])) rows[--first] = input.history[i];
  return rows.subspan(first);
}

SequenceState SequenceScorer::backbone_state(int32_t user, std::span<const int32_t> window,
                                             ScratchArena& arena) const {
  static constexpr int32_t kNothing = 0;
  const auto count = static_cast<int64_t>(std::max<size_t>(window.size(), 1));
  const int32_t* rows = window.empty() ? &kNothing : window.data();
  auto* items = arena.array<const float*>(count);
  for (int64_t t = 0; t < count; ++t)
    items[t] = items_.data() + rows[t] * width_;
  const bool has_user = user_ids_ && !users_.empty();
  return backbone_->state(
      {.count = count,
       .rows = rows,
       .items = items,
       .user = has_user ? users_.data() + bundle_->user_row(user) * width_ : nullptr},
      arena);
}

// The request's half of a sample: [user's vector, summary of the history], mapped text of the
// history.
RequestParts SequenceScorer::parts(const HistoryInput& input, std::span<const int32_t> window,
                                   const float* summary, ScratchArena& arena) const {
  RequestParts parts;
  const int64_t users = users_.empty() ? 0 : 1;
  float* fields = arena.floats((users + 1) * width_);
  if (users > 0)
    std::copy_n(users_.data() + bundle_->user_row(input.user) * width_, width_, fields);
  std::copy_n(summary, width_, fields + users * width_);
  parts.fields = fields;
  if (bundle_->item_text().empty()) return parts;
  const int64_t W = bundle_->spec().text_dim;
  float* mean = arena.zeros(W);
  for (const int32_t item : window)
    retrieval::kernels::add_to(mean, input.catalogue.text(item), W);
  if (!window.empty())
    retrieval::kernels::scale_to(mean, mean, 1.0F / static_cast<float>(window.size()), W);
  float* mapped = arena.floats(context_->text_width());
  context_->map_text(mean, mapped, arena);
  parts.history_text = mapped;
  return parts;
}

const float* SequenceScorer::context_of(const HistoryInput& input, const RequestParts& parts,
                                        ScratchArena& arena) const {
  const int64_t K = input.slots == nullptr ? 0 : input.slots->k;
  const float* item = unknown_target_.data();
  const int32_t* slots = K == 0 ? nullptr : input.slots->ids;
  float* told = nullptr;
  if (bundle_->spec().context.evidence) {
    told = arena.zeros(std::max<int64_t>(K, 1) * models::kFixedSlotFeatures);
    if (K > 0) write_evidence(*input.slots, bundle_->examples().time, input.time, told);
  }
  const float* evidence = told;
  const Matrix context = Matrix::make(1, context_->width(), arena);
  context_->compute(context_->prepare(parts, arena),
                    {.count = 1,
                     .items = &item,
                     .slots = &slots,
                     .evidence = &evidence,
                     .k = K,
                     .attention = input.attention == nullptr ? nullptr : &input.attention},
                    arena, context);
  return context.data;
}

void SequenceScorer::fuse(const float* state, const float* context, ScratchArena& arena,
                          float* out) const {
  if (!concat_fusion_) {
    std::copy_n(state, width_, out);
    kernels::add_scaled(out, context, context_weight_, width_);
    return;
  }
  const int64_t C = context_->width();
  const Matrix both = Matrix::make(1, width_ + C, arena), hidden = Matrix::make(1, width_, arena),
               fused = Matrix::make(1, width_, arena);
  std::copy_n(state, width_, both.data);
  std::copy_n(context, C, both.data + width_);
  fusion0_.apply(both, hidden);
  kernels::gelu(hidden.data, width_);
  fusion1_.apply(hidden, fused);
  std::copy_n(fused.data, width_, out);
}

void SequenceScorer::state(const HistoryInput& input, ScratchArena& arena, float* out) const {
  const ScratchArena::Scope scope(arena);
  const kernels::DenormalsAreZero faster;
  const std::span<const int32_t> window = this->window(input, arena);
  const SequenceState state = backbone_state(input.user, window, arena);
  if (context_ == nullptr) {
    std::copy_n(state.state, width_, out);
    return;
  }
  const RequestParts parts = this->parts(input, window, state.summary, arena);
  fuse(state.state, context_of(input, parts, arena), arena, out);
}

void SequenceScorer::example_token(const HistoryInput& example, int32_t item, ScratchArena& arena,
                                   float* out) const {
  const ScratchArena::Scope scope(arena);
  const std::span<const int32_t> window = this->window(example, arena);
  const SequenceState state = backbone_state(example.user, window, arena);
  float* constants = arena.zeros(layout_.width());
  fields_.fill_item(example.catalogue, item, constants);
  context_->fill_item(example.catalogue.text(item), constants, arena);
  context_->token(context_->prepare(parts(example, window, state.summary, arena), arena), constants,
                  out, arena);
}

}  // namespace llmcf::serve
