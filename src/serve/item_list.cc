#include "serve/item_list.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "core/error.h"
#include "core/threads.h"
#include "retrieval/approximate_items.h"
#include "retrieval/item_index.h"
#include "serve/kernels.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kBlock = 128 * kernels::kPanel;  // items whose scores are in the cache together
// Hidden items that an approximate list asks around, by item wanted: with more of them, proposals
// would be most of the catalogue.
constexpr int64_t kHiddenPerItem = 8;

struct Scored {
  float score;
  int32_t row;
};
bool better(const Scored& left, const Scored& right) {
  return left.score != right.score ? left.score > right.score : left.row < right.row;
}

// The k best of what is offered in the order of rows.
class Best {
 public:
  explicit Best(int64_t k) : k_(static_cast<size_t>(k)) {}

  // What is not above it is not among the best.
  float threshold() const { return threshold_; }
  void offer(int32_t row, float score) {
    kept_.push_back({score, row});
    if (kept_.size() == 2 * k_) cut();
  }
  RankedItems take() {
    std::sort(kept_.begin(), kept_.end(), better);
    kept_.resize(std::min(kept_.size(), k_));
    RankedItems result;
    for (const Scored& one : kept_) {
      result.rows.push_back(one.row);
      result.scores.push_back(one.score);
    }
    return result;
  }

 private:
  void cut() {
    const auto last = kept_.begin() + static_cast<int64_t>(k_) - 1;
    std::nth_element(kept_.begin(), last, kept_.end(), better);
    threshold_ = last->score;
    kept_.resize(k_);
  }

  size_t k_;
  float threshold_ = -std::numeric_limits<float>::infinity();
  std::vector<Scored> kept_;
};

std::vector<int32_t> hidden_rows(std::span<const char> hidden, int64_t items) {
  std::vector<int32_t> rows;
  for (int64_t row = 1; row <= items; ++row)
    if (hidden[static_cast<size_t>(row)] != 0) rows.push_back(static_cast<int32_t>(row));
  return rows;
}

}  // namespace

ItemListOptions ItemListOptions::from(const Config& section) {
  ItemListOptions options;
  options.approximate =
      section.get_choice("index", "exact", {"exact", "approximate"}) == "approximate";
  options.probes = section.get_int("probes", 0, 0, int64_t{1} << 24);
  if (options.probes > 0 && !options.approximate)
    section.fail("probes", "are of an approximate index: set index: approximate, or leave it out");
  section.finish();
  return options;
}

ItemList::ItemList(const Bundle& bundle, const ItemListOptions& options)
    : items_(bundle.spec().items), width_(bundle.spec().embed_dim) {
  const int64_t panels = kernels::padded(items_) / kernels::kPanel;
  panels_ = bundle.reader().get<float>("items.panels", {panels, width_, kernels::kPanel});
  table_ = bundle.weight("tables.item_id").first(static_cast<size_t>((items_ + 1) * width_));
  if (!options.approximate) return;
  exact_ = std::make_unique<retrieval::ItemIndex>(table_, width_);
  approximate_ = std::make_unique<retrieval::ApproximateItems>(
      *exact_, retrieval::ApproximateOptions{.probes = options.probes});
}

ItemList::~ItemList() = default;

void ItemList::add_to(SafetensorsWriter& writer, std::span<const float> table, int64_t items,
                      int64_t width, std::vector<float>& kept) {
  const int64_t panels = kernels::padded(items) / kernels::kPanel;
  kept.assign(static_cast<size_t>(panels * width * kernels::kPanel), 0.0F);
  parallel_for(panels, 64, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * kernels::kPanel;  // of items 1, 2, ..., less one
      const kernels::PackedWeights packed(table.data() + (first + 1) * width,
                                          std::min(kernels::kPanel, items - first), width);
      std::copy_n(packed.data(), width * kernels::kPanel, kept.data() + first * width);
    }
  });
  writer.add<float>("items.panels", {panels, width, kernels::kPanel}, std::span<const float>(kept));
}

RankedItems ItemList::scan(const float* state, int64_t k, std::span<const char> hidden,
                           ScratchArena& arena) const {
  const ScratchArena::Scope scope(arena);
  float* scores = arena.floats(kBlock);
  Best best(k);
  for (int64_t first = 0; first < items_; first += kBlock) {
    const int64_t count = std::min(kBlock, items_ - first);
    kernels::dense(
        kernels::Panels{.data = panels_.data() + first * width_, .in = width_, .out = count},
        {.count = 1, .x = state, .y = scores, .y_stride = kBlock});
    for (int64_t i = 0; i < count; ++i) {
      const auto row = static_cast<int32_t>(first + i + 1);
      if (scores[i] > best.threshold() && hidden[static_cast<size_t>(row)] == 0)
        best.offer(row, scores[i]);
    }
  }
  return best.take();
}

RankedItems ItemList::proposed(const float* state, int64_t k,
                               std::span<const int32_t> hidden) const {
  const retrieval::BestItems best =
      approximate_->best({state, static_cast<size_t>(width_)}, std::min(k, items_),
                         [hidden](int64_t) { return hidden; });
  RankedItems result;
  for (size_t i = 0; i < best.items.size() && best.items[i] != 0; ++i) {
    result.rows.push_back(best.items[i]);
    result.scores.push_back(best.scores[i]);
  }
  return result;
}

RankedItems ItemList::best(const float* state, int64_t k, std::span<const char> hidden,
                           ScratchArena& arena) const {
  LLMCF_ASSERT(static_cast<int64_t>(hidden.size()) > items_ && k >= 1);
  if (approximate_ != nullptr) {
    const std::vector<int32_t> rows = hidden_rows(hidden, items_);
    const auto count = static_cast<int64_t>(rows.size());
    if (count <= kHiddenPerItem * k) {
      RankedItems found = proposed(state, k, rows);
      if (static_cast<int64_t>(found.rows.size()) >= std::min(k, items_ - count)) return found;
    }
  }
  return scan(state, k, hidden, arena);
}

void ItemList::score(const float* state, std::span<const int32_t> rows, ScratchArena& arena,
                     std::span<float> out) const {
  const ScratchArena::Scope scope(arena);
  const kernels::PackedWeights packed(state, 1, width_);
  const auto count = static_cast<int64_t>(rows.size());
  auto* vectors = arena.array<const float*>(count);
  for (int64_t i = 0; i < count; ++i)
    vectors[i] = table_.data() + rows[static_cast<size_t>(i)] * width_;
  float* scores = arena.floats(count * kernels::kPanel);
  kernels::dense(packed,
                 {.count = count, .x_rows = vectors, .y = scores, .y_stride = kernels::kPanel});
  for (int64_t i = 0; i < count; ++i)
    out[static_cast<size_t>(i)] = scores[i * kernels::kPanel];
}

}  // namespace llmcf::serve
