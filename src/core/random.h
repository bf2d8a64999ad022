// Random streams. Every random choice takes an explicit stream made from a seed and a name, so that
// adding a consumer never shifts another one's numbers, and the same seed gives the same bytes on
// every machine (the standard library's distributions do not promise that; these do).
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace llmcf {

// xoshiro256** seeded by splitmix64 over the seed and the name's hash.
class Random {
 public:
  Random(uint64_t seed, std::string_view stream);

  uint64_t next();
  // Uniform in [0, bound), without bias. REQUIRES: bound > 0.
  uint64_t below(uint64_t bound);
  // Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // Standard normal (Box-Muller, one value per call).
  double normal();

  template <typename T>
  void shuffle(std::span<T> values) {
    for (size_t left = values.size(); left > 1; --left) {
      std::swap(values[left - 1], values[below(left)]);
    }
  }
  template <typename T>
  void shuffle(std::vector<T>& values) {
    shuffle(std::span<T>(values));
  }

  // Index drawn with probability proportional to weight. REQUIRES: a positive sum.
  size_t weighted(std::span<const double> weights);

 private:
  uint64_t state_[4];
};

}  // namespace llmcf
