#include "retrieval/reasoned.h"

#include <cmath>

namespace llmcf::retrieval {

std::vector<float> reasoned_vectors(const Reasons& reasons, int64_t items, bool positives_only,
                                    const std::function<bool(int32_t user)>& counts) {
  const auto width = static_cast<size_t>(reasons.width());
  std::vector<double> sums(static_cast<size_t>(items) * width, 0), centre(width, 0);
  std::vector<int64_t> examples(static_cast<size_t>(items), 0);
  for (size_t n = 0; n < reasons.user.size(); ++n) {
    if (positives_only && reasons.label[n] < 0.5F) continue;
    if (!counts(reasons.user[n])) continue;
    const auto item = static_cast<size_t>(reasons.item[n]);
    ++examples[item];
    for (size_t k = 0; k < width; ++k)
      sums[item * width + k] += reasons.vectors[n * width + k];
  }
  double known = 0;
  for (size_t item = 0; item < examples.size(); ++item) {
    if (examples[item] == 0) continue;
    ++known;
    for (size_t k = 0; k < width; ++k)
      centre[k] += sums[item * width + k] /= static_cast<double>(examples[item]);
  }
  std::vector<float> vectors(sums.size(), 0);
  for (size_t item = 0; item < examples.size(); ++item) {
    if (examples[item] == 0) continue;
    double square = 0;
    for (size_t k = 0; k < width; ++k)
      square += std::pow(sums[item * width + k] -= centre[k] / known, 2);
    if (square <= 1e-12) continue;
    for (size_t k = 0; k < width; ++k)
      vectors[item * width + k] = static_cast<float>(sums[item * width + k] / std::sqrt(square));
  }
  return vectors;
}

}  // namespace llmcf::retrieval
