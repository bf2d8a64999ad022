// Contexts without a transformer: the query's own text, the mean chain of thought.
#include "serve/scorer/context.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "serve/scorer/in_context.h"
#include "serve/scorer/kar.h"
#include "serve/scorer/token_maps.h"

namespace llmcf::serve {

namespace {

// The query's own feature token.
class TextContext final : public Context {
 public:
  explicit TextContext(const ContextOfSource& source) : maps_(source, "context.token_map") {}

  int64_t width() const override { return maps_.width(); }
  void fill_item(const float* text, float* constants, ScratchArena& arena) const override {
    maps_.fill_item(text, constants, arena);
  }
  const RequestState* prepare(const RequestParts& request, ScratchArena& arena) const override {
    auto* state = arena.array<TokenRequest>(1);
    *state = maps_.request(request, arena);
    return state;
  }
  void compute(const RequestState* state, const ContextBlock& block, ScratchArena& arena,
               const Matrix& out) const override {
    const Matrix tokens =
        maps_.tokens(*static_cast<const TokenRequest*>(state), block.items, block.count, arena);
    for (int64_t i = 0; i < block.count; ++i)
      std::copy_n(tokens.row(i), width(), out.row(i));
  }
  int64_t text_width() const override { return maps_.text_width(); }
  void map_text(const float* text, float* out, ScratchArena& arena) const override {
    maps_.text().apply_row(text, out, arena);
  }

 private:
  TokenMaps maps_;
};

// Mean of the mapped chains of thought of a candidate's examples; zeros without any.
class ConcatContext final : public Context {
 public:
  explicit ConcatContext(const ContextOfSource& source)
      : text_(source.bundle, "context.text_map", 0, false, false) {
    if (source.bundle.reader().contains("examples.mapped_cot"))
      cot_ = source.bundle.reader().get<float>("examples.mapped_cot",
                                               {source.bundle.spec().examples, text_.out()});
  }

  int64_t width() const override { return text_.out(); }
  void fill_item(const float*, float*, ScratchArena&) const override {}
  const RequestState* prepare(const RequestParts&, ScratchArena&) const override { return nullptr; }
  void compute(const RequestState*, const ContextBlock& block, ScratchArena&,
               const Matrix& out) const override {
    for (int64_t i = 0; i < block.count; ++i) {
      std::fill_n(out.row(i), width(), 0.0F);
      int64_t used = 0;
      for (int64_t k = 0; k < block.k; ++k) {
        const int32_t example = block.slots[i][k];
        if (example < 0) continue;
        kernels::add_scaled(out.row(i), cot_.data() + example * width(), 1, width());
        ++used;
      }
      const float share = used == 0 ? 0.0F : 1.0F / static_cast<float>(used);
      for (int64_t c = 0; c < width(); ++c)
        out.row(i)[c] *= share;
    }
  }
  int64_t text_width() const override { return text_.out(); }
  void map_text(const float* text, float* out, ScratchArena& arena) const override {
    text_.apply_row(text, out, arena);
  }

 private:
  MlpLayers text_;
  std::span<const float> cot_;  // [N, d]
};

}  // namespace

std::unique_ptr<Context> make_context(const ContextOfSource& source) {
  const std::string& kind = source.bundle.spec().context.kind;
  if (kind == "none") return nullptr;
  if (kind == "text") return std::make_unique<TextContext>(source);
  if (kind == "concat") return std::make_unique<ConcatContext>(source);
  if (kind == "kar") return std::make_unique<KarContext>(source);
  if (source.bundle.spec().context.in_context()) return std::make_unique<InContext>(source);
  throw Error(
      fmt::format("context '{}' cannot be served: none, text, concat, ict, ict_wocot, "
                  "mean and kar can",
                  kind));
}

}  // namespace llmcf::serve
