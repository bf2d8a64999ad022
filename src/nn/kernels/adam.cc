#include "nn/kernels/adam.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "nn/kernels/adam.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace llmcf::nn::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;

constexpr float kNegligible = 1e-12F;
constexpr int64_t kStepsPerCheck = 8;

// One element-wise Adam step on a vector; `gradient` already holds the L2 term. Returns the update.
HWY_INLINE Vector advance(Vector& first, Vector& second, Vector gradient, Vector beta1,
                          Vector rest1, Vector beta2, Vector rest2, Vector step_size,
                          Vector correction, Vector epsilon) {
  first = hn::MulAdd(beta1, first, hn::Mul(rest1, gradient));
  second = hn::MulAdd(beta2, second, hn::Mul(hn::Mul(rest2, gradient), gradient));
  const Vector denominator = hn::MulAdd(hn::Sqrt(second), correction, epsilon);
  return hn::Div(hn::Mul(step_size, first), denominator);
}

// Steps on all lanes of [0, count): decay is 1 - lr * weight_decay for AdamW, 1 for Adam.
void step(const AdamConstants& c, AdamScale scale, float keep, float* HWY_RESTRICT weight,
          const float* HWY_RESTRICT gradient, float* HWY_RESTRICT first, float* HWY_RESTRICT second,
          int64_t count) {
  const Tag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Vector decay = hn::Set(d, c.weight_decay), kept = hn::Set(d, keep);
  const Vector beta1 = hn::Set(d, c.beta1), rest1 = hn::Set(d, c.rest1);
  const Vector beta2 = hn::Set(d, c.beta2), rest2 = hn::Set(d, c.rest2);
  const Vector step_size = hn::Set(d, scale.step_size), epsilon = hn::Set(d, c.epsilon);
  const Vector correction = hn::Set(d, scale.inverse_root_correction);
  const auto one = [&](Vector w, Vector g, Vector& m, Vector& v) HWY_ATTR {
    g = hn::MulAdd(decay, w, g);
    return hn::Sub(hn::Mul(kept, w),
                   advance(m, v, g, beta1, rest1, beta2, rest2, step_size, correction, epsilon));
  };
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    Vector m = hn::LoadU(d, first + i), v = hn::LoadU(d, second + i);
    const Vector g = gradient == nullptr ? hn::Zero(d) : hn::LoadU(d, gradient + i);
    hn::StoreU(one(hn::LoadU(d, weight + i), g, m, v), d, weight + i);
    hn::StoreU(m, d, first + i);
    hn::StoreU(v, d, second + i);
  }
  if (i == count) return;
  const auto mask = hn::FirstN(d, static_cast<size_t>(count - i));
  Vector m = hn::MaskedLoad(mask, d, first + i), v = hn::MaskedLoad(mask, d, second + i);
  const Vector g = gradient == nullptr ? hn::Zero(d) : hn::MaskedLoad(mask, d, gradient + i);
  hn::BlendedStore(one(hn::MaskedLoad(mask, d, weight + i), g, m, v), mask, d, weight + i);
  hn::BlendedStore(m, mask, d, first + i);
  hn::BlendedStore(v, mask, d, second + i);
}

void adam_step_simd(const AdamConstants& c, AdamScale scale, float* weight, const float* gradient,
                    float* first, float* second, int64_t count) {
  step(c, scale, 1.0F, weight, gradient, first, second, count);
}

void adamw_step_simd(const AdamConstants& c, AdamScale scale, float decay, float* weight,
                     const float* gradient, float* first, float* second, int64_t count) {
  AdamConstants plain = c;
  plain.weight_decay = 0;
  step(plain, scale, 1.0F - decay, weight, gradient, first, second, count);
}

// Replays on kBlocks vectors at once, so that the long latencies of sqrt and div overlap. The last
// vector is loaded and stored under `mask`. Returns the number of steps made.
template <size_t kBlocks>
HWY_INLINE int64_t replay_blocks(const AdamConstants& c, const AdamScale* HWY_RESTRICT scales,
                                 int64_t missed, float* HWY_RESTRICT weight,
                                 float* HWY_RESTRICT first, float* HWY_RESTRICT second,
                                 hn::Mask<Tag> mask) {
  const Tag d;
  const size_t lanes = hn::Lanes(d);
  const Vector decay = hn::Set(d, c.weight_decay), epsilon = hn::Set(d, c.epsilon);
  const Vector beta1 = hn::Set(d, c.beta1), rest1 = hn::Set(d, c.rest1);
  const Vector beta2 = hn::Set(d, c.beta2), rest2 = hn::Set(d, c.rest2);
  Vector w[kBlocks], m[kBlocks], v[kBlocks];
  for (size_t k = 0; k + 1 < kBlocks; ++k) {
    w[k] = hn::LoadU(d, weight + k * lanes);
    m[k] = hn::LoadU(d, first + k * lanes);
    v[k] = hn::LoadU(d, second + k * lanes);
  }
  constexpr size_t kLast = kBlocks - 1;
  w[kLast] = hn::MaskedLoad(mask, d, weight + kLast * lanes);
  m[kLast] = hn::MaskedLoad(mask, d, first + kLast * lanes);
  v[kLast] = hn::MaskedLoad(mask, d, second + kLast * lanes);
  int64_t done = 0;
  while (done < missed) {
    const int64_t end = done + kStepsPerCheck < missed ? done + kStepsPerCheck : missed;
    Vector largest = hn::Zero(d);
    for (; done < end; ++done) {
      const Vector step_size = hn::Set(d, scales[done].step_size);
      const Vector correction = hn::Set(d, scales[done].inverse_root_correction);
      largest = hn::Zero(d);
      for (size_t k = 0; k < kBlocks; ++k) {
        const Vector update = advance(m[k], v[k], hn::Mul(decay, w[k]), beta1, rest1, beta2, rest2,
                                      step_size, correction, epsilon);
        w[k] = hn::Sub(w[k], update);
        largest = hn::Max(largest, hn::Max(hn::Abs(w[k]), hn::Abs(update)));
      }
    }
    if (hn::AllTrue(d, hn::Lt(largest, hn::Set(d, kNegligible)))) break;
  }
  for (size_t k = 0; k + 1 < kBlocks; ++k) {
    hn::StoreU(w[k], d, weight + k * lanes);
    hn::StoreU(m[k], d, first + k * lanes);
    hn::StoreU(v[k], d, second + k * lanes);
  }
  hn::BlendedStore(w[kLast], mask, d, weight + kLast * lanes);
  hn::BlendedStore(m[kLast], mask, d, first + kLast * lanes);
  hn::BlendedStore(v[kLast], mask, d, second + kLast * lanes);
  return done;
}

// Replays `width` elements that fit into at most 5 vectors.
int64_t replay_piece(const AdamConstants& c, const AdamScale* scales, int64_t missed, float* w,
                     float* m, float* v, size_t width) {
  const Tag d;
  const size_t lanes = hn::Lanes(d);
  const size_t blocks = (width + lanes - 1) / lanes;
  const auto mask = hn::FirstN(d, width - (blocks - 1) * lanes);
  switch (blocks) {
    case 1:
      return replay_blocks<1>(c, scales, missed, w, m, v, mask);
    case 2:
      return replay_blocks<2>(c, scales, missed, w, m, v, mask);
    case 3:
      return replay_blocks<3>(c, scales, missed, w, m, v, mask);
    case 4:
      return replay_blocks<4>(c, scales, missed, w, m, v, mask);
    default:
      return replay_blocks<5>(c, scales, missed, w, m, v, mask);
  }
}

void adam_replay_simd(const AdamConstants& c, const AdamScale* scales, int64_t missed,
                      float* weight, float* first, float* second, int64_t width) {
  const auto piece = static_cast<int64_t>(5 * hn::Lanes(Tag()));
  for (int64_t begin = 0; begin < width; begin += piece) {
    const int64_t size = width - begin < piece ? width - begin : piece;
    float* m = first + begin;
    float* v = second + begin;
    const int64_t done =
        replay_piece(c, scales, missed, weight + begin, m, v, static_cast<size_t>(size));
    if (done == missed) continue;
    const float keep1 = std::pow(c.beta1, static_cast<float>(missed - done));
    const float keep2 = std::pow(c.beta2, static_cast<float>(missed - done));
    for (int64_t i = 0; i < size; ++i) {
      m[i] *= keep1;
      v[i] *= keep2;
    }
  }
}

}  // namespace llmcf::nn::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace llmcf::nn::kernels {

HWY_EXPORT(adam_step_simd);
HWY_EXPORT(adamw_step_simd);
HWY_EXPORT(adam_replay_simd);

void adam_step(const AdamConstants& constants, AdamScale scale, float* weight,
               const float* gradient, float* first, float* second, int64_t count) {
  HWY_DYNAMIC_DISPATCH(adam_step_simd)(constants, scale, weight, gradient, first, second, count);
}

void adamw_step(const AdamConstants& constants, AdamScale scale, float decay, float* weight,
                const float* gradient, float* first, float* second, int64_t count) {
  HWY_DYNAMIC_DISPATCH(adamw_step_simd)
  (constants, scale, decay, weight, gradient, first, second, count);
}

void adam_replay(const AdamConstants& constants, const AdamScale* scales, int64_t missed,
                 float* weight, float* first, float* second, int64_t width) {
  HWY_DYNAMIC_DISPATCH(adam_replay_simd)
  (constants, scales, missed, weight, first, second, width);
}

}  // namespace llmcf::nn::kernels
#endif
