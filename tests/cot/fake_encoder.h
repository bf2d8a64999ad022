// An encoder for tests: a bag of hashed lower-case words, unit length. Texts that share words are
// similar.
#pragma once

#include <cmath>
#include <string>

#include "core/hash.h"
#include "core/strings.h"
#include "text/encoder.h"

namespace llmcf::cot {

class FakeEncoder final : public text::Encoder {
 public:
  explicit FakeEncoder(int64_t dim = 64, std::string fingerprint = "fake/1")
      : dim_(dim), fingerprint_(std::move(fingerprint)) {}

  int64_t dim() const override { return dim_; }
  std::string name() const override { return "fake"; }
  std::string fingerprint() const override { return fingerprint_; }
  void encode(std::span<const std::string_view> texts, std::span<float> out) const override {
    for (size_t row = 0; row < texts.size(); ++row)
      encode_one(texts[row],
                 out.subspan(row * static_cast<size_t>(dim_), static_cast<size_t>(dim_)));
  }

 private:
  void encode_one(std::string_view text, std::span<float> vector) const {
    std::fill(vector.begin(), vector.end(), 0.0F);
    std::string word;
    for (const char c : to_lower(text) + " ") {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
        word += c;
      } else if (!word.empty()) {
        vector[std::stoul(hash_hex(word).substr(0, 8), nullptr, 16) % vector.size()] += 1.0F;
        word.clear();
      }
    }
    float square = 0;
    for (const float value : vector)
      square += value * value;
    if (square > 0)
      for (float& value : vector)
        value /= std::sqrt(square);
  }

  int64_t dim_;
  std::string fingerprint_;
};

}  // namespace llmcf::cot
