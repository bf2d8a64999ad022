#include "serve/scorer/prepare.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "core/threads.h"
#include "serve/item_list.h"
#include "serve/scorer/scorer.h"
#include "serve/scorer/sequence_scorer.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kGrain = 64;
constexpr const char* kExampleContext = "examples.context.";

// Context features of examples by field.
struct ExampleContext {
  explicit ExampleContext(const Bundle& bundle) : values(bundle.spec().fields.size()) {
    const SafetensorsReader& reader = bundle.reader();
    for (size_t f = 0; f < values.size(); ++f) {
      const std::string name = kExampleContext + bundle.spec().fields[f].spec.name;
      if (reader.contains(name + ".offsets"))
        values[f] = {.offsets = reader.get<int64_t>(name + ".offsets"),
                     .ids = reader.get<int32_t>(name + ".ids"),
                     .values = {}};
      if (reader.contains(name + ".values")) values[f].values = reader.get<float>(name + ".values");
    }
  }
  void fill(int64_t example, std::vector<ContextValue>& out) const {
    out.assign(values.size(), {});
    for (size_t f = 0; f < values.size(); ++f) {
      out[f].ids = values[f].ids_of(example);
      if (!values[f].values.empty()) out[f].number = values[f].values[static_cast<size_t>(example)];
      out[f].given = true;
    }
  }
  std::vector<FieldValues> values;
};

}  // namespace

Precomputed::Precomputed(std::shared_ptr<const Bundle> raw) : raw_(std::move(raw)) {
  const bool examples = raw_->spec().context.reads_examples();
  if (raw_->spec().sequence) {
    if (examples) compute_sequence_examples();
  } else {
    compute_items();
    if (examples) compute_examples();
  }
}

void Precomputed::compute_items() {
  const Scorer scorer(raw_);
  const Catalogue catalogue(raw_);
  item_width_ = scorer.item_width();
  items_.resize(static_cast<size_t>(catalogue.rows() * item_width_));
  parallel_for(catalogue.rows(), kGrain, [&](int64_t begin, int64_t end) {
    ScratchArena arena;
    for (int64_t row = begin; row < end; ++row)
      scorer.fill_item(catalogue, static_cast<int32_t>(row), items_.data() + row * item_width_,
                       arena);
  });
}

void Precomputed::compute_examples() {
  const Scorer scorer(raw_);
  const Catalogue catalogue(raw_);
  const Context& context = *scorer.context();
  const ExampleContext values(*raw_);
  const Examples& examples = raw_->examples();
  map_examples(context, [&](int64_t id, ScratchArena& arena, float* token) {
    const auto at = static_cast<size_t>(id);
    const auto all =
        raw_->history(examples.user[at]).first(static_cast<size_t>(examples.position[at]));
    std::vector<ContextValue> given;
    values.fill(id, given);
    const Sample sample{
        .user = examples.user[at],
        .history = all.last(std::min(all.size(), static_cast<size_t>(raw_->spec().history_length))),
        .context = given};
    const RequestParts parts = scorer.request_parts(catalogue, sample, arena);
    context.token(context.prepare(parts, arena), items_.data() + examples.item[at] * item_width_,
                  token, arena);
  });
}

// Their histories pass the backbone, as in training.
void Precomputed::compute_sequence_examples() {
  const SequenceScorer scorer(raw_);
  const Catalogue catalogue(raw_);
  const Examples& examples = raw_->examples();
  map_examples(*scorer.context(), [&](int64_t id, ScratchArena& arena, float* token) {
    const auto at = static_cast<size_t>(id);
    const auto history =
        raw_->history(examples.user[at]).first(static_cast<size_t>(examples.position[at]));
    scorer.example_token({.catalogue = catalogue, .user = examples.user[at], .history = history},
                         examples.item[at], arena, token);
  });
}

// Feature tokens and mapped chains of thought of all examples, where the context reads them.
void Precomputed::map_examples(const Context& context, const TokenOf& token_of) {
  const BundleSpec& spec = raw_->spec();
  token_width_ = context.width();
  const bool features = spec.context.in_context(), cots = spec.context.reads_cot();
  if (features) feature_.resize(static_cast<size_t>(spec.examples * token_width_));
  if (cots) cot_.resize(static_cast<size_t>(spec.examples * token_width_));
  const std::span<const float> frozen =
      cots ? raw_->reader().get<float>("examples.cot", {spec.examples, spec.text_dim})
           : std::span<const float>();
  // Chains of thought have a map of their own where the model was given one (`cot_map: own`).
  std::optional<MlpLayers> cot_map;
  if (raw_->has_weight("context.cot_map.linear0.weight"))
    cot_map.emplace(*raw_, "context.cot_map", 0, false, false);
  parallel_for(spec.examples, kGrain, [&](int64_t begin, int64_t end) {
    ScratchArena arena;
    for (int64_t id = begin; id < end; ++id) {
      arena.reset();
      const float* chain = cots ? frozen.data() + id * spec.text_dim : nullptr;
      if (cots && cot_map)
        cot_map->apply_row(chain, cot_.data() + id * token_width_, arena);
      else if (cots)
        context.map_text(chain, cot_.data() + id * token_width_, arena);
      if (features) token_of(id, arena, feature_.data() + id * token_width_);
    }
  });
}

void Precomputed::add_to(SafetensorsWriter& writer) const {
  for (const auto& [name, view] : raw_->reader().tensors()) {
    const bool only_here =
        name.starts_with(kExampleContext) || name == "examples.cot" || name == "kar.item";
    if (!only_here) writer.add(name, view.dtype, view.shape, view.data);
  }
  const int64_t examples = raw_->spec().examples;
  if (raw_->spec().sequence) {
    ItemList::add_to(writer, raw_->weight("tables.item_id"), raw_->spec().items,
                     raw_->spec().embed_dim, panels_);
  } else {
    writer.add<float>("items.static", {raw_->spec().items + 1, item_width_},
                      std::span<const float>(items_));
  }
  if (!feature_.empty())
    writer.add<float>("examples.feature", {examples, token_width_},
                      std::span<const float>(feature_));
  if (!cot_.empty())
    writer.add<float>("examples.mapped_cot", {examples, token_width_},
                      std::span<const float>(cot_));
  describe_bundle(writer, raw_->spec());
}

}  // namespace llmcf::serve
