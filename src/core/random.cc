// xoshiro256** and what is drawn from it. Changing any of it changes every seeded result.
#include "core/random.h"

#include <xxhash.h>

namespace llmcf {

namespace {

uint64_t splitmix64(uint64_t& state) {
  uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

uint64_t rotate_left(uint64_t value, int bits) {
  return (value << bits) | (value >> (64 - bits));
}

}  // namespace

Random::Random(uint64_t seed, std::string_view stream) {
  uint64_t mixed = seed ^ XXH3_64bits(stream.data(), stream.size());
  for (uint64_t& word : state_)
    word = splitmix64(mixed);
}

uint64_t Random::next() {
  const uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = rotate_left(state_[3], 45);
  return result;
}

uint64_t Random::below(uint64_t bound) {
  __extension__ using Wide =
      unsigned __int128;  // Lemire's method: the high half, rejecting the biased low end
  Wide product = static_cast<Wide>(next()) * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t threshold = (0 - bound) % bound;
    while (static_cast<uint64_t>(product) < threshold)
      product = static_cast<Wide>(next()) * bound;
  }
  return static_cast<uint64_t>(product >> 64);
}

double Random::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(6.283185307179586 * uniform());
}

size_t Random::weighted(std::span<const double> weights) {
  double total = 0;
  for (const double weight : weights)
    total += weight;
  double left = uniform() * total;
  for (size_t index = 0; index < weights.size(); ++index) {
    left -= weights[index];
    if (left < 0) return index;
  }
  return weights.size() - 1;
}

}  // namespace llmcf
