// Text encoders: a text becomes one vector of unit length.
//
// Invariants:
//  1. The same encoder and text give the same vector, whatever else is in the call and however many
//  threads run.
//  2. Every vector has length 1, but for texts with nothing known in them: those are exactly zero.
//
// Thread safety: encode() is const and may be called from several threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace llmcf::text {

class Encoder {
 public:
  virtual ~Encoder() = default;

  virtual int64_t dim() const = 0;
  // Short name for reports, e.g. "lsa-256", "model2vec:potion-base".
  virtual std::string name() const = 0;
  // Changes whenever vectors would: part of every content hash downstream.
  virtual std::string fingerprint() const = 0;
  // out: [texts.size(), dim()] row-major. Throws Error on failure (endpoint down, wrong width,
  // ...).
  virtual void encode(std::span<const std::string_view> texts, std::span<float> out) const = 0;
};

}  // namespace llmcf::text
