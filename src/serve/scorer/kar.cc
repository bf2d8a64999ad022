#include "serve/scorer/kar.h"

#include <algorithm>

#include <fmt/format.h>

namespace llmcf::serve {

namespace {

constexpr const char* kAdaptor = "context.adaptor.";

struct KarRequest : RequestState {
  const float* user = nullptr;  // [d]
};

}  // namespace

KarMixture::KarMixture(const Bundle& bundle, int which)
    : gate_(LinearWeights::of(bundle, fmt::format("{}gate{}", kAdaptor, which))) {
  for (const std::string& kind : {std::string("shared"), fmt::format("specific{}_", which)})
    for (int i = 0;; ++i) {
      const std::string name = fmt::format("{}{}{}", kAdaptor, kind, i);
      if (MlpLayers::count(bundle, name) == 0) break;
      experts_.emplace_back(bundle, name, 0, false, true);
    }
  if (static_cast<int64_t>(experts_.size()) != gate_.out())
    throw InputError(bundle.reader().path().string(), 0,
                     fmt::format("KAR's gate {} weighs {} experts, the bundle has {}", which,
                                 gate_.out(), experts_.size()));
}

void KarMixture::apply(const float* text, float* out, ScratchArena& arena) const {
  const ScratchArena::Scope scope(arena);
  const Matrix row = Matrix::make(1, in(), arena);
  std::copy_n(text, in(), row.data);
  const Matrix weights = Matrix::make(1, gate_.out(), arena);
  gate_.apply(row, weights);
  kernels::softmax(weights.data, gate_.out());
  std::fill_n(out, this->out(), 0.0F);
  for (size_t i = 0; i < experts_.size(); ++i)
    kernels::add_scaled(out, experts_[i].apply(row, arena).data, weights.data[i], this->out());
}

KarContext::KarContext(const ContextOfSource& source)
    : user_(source.bundle, 0), item_(source.bundle, 1), item_at_(source.layout.add(item_.out())) {}

const RequestState* KarContext::prepare(const RequestParts& request, ScratchArena& arena) const {
  float* mixed = arena.floats(user_.out());
  user_.apply(request.kar, mixed, arena);
  auto* state = arena.array<KarRequest>(1);
  *state = {};
  state->user = mixed;
  return state;
}

void KarContext::compute(const RequestState* state, const ContextBlock& block, ScratchArena&,
                         const Matrix& out) const {
  const float* user = static_cast<const KarRequest*>(state)->user;
  for (int64_t i = 0; i < block.count; ++i) {
    std::copy_n(user, user_.out(), out.row(i));
    std::copy_n(block.items[i] + item_at_, item_.out(), out.row(i) + user_.out());
  }
}

}  // namespace llmcf::serve
