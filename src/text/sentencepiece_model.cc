#include "text/sentencepiece_model.h"

#include <cstring>
#include <functional>

#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::text {

namespace {

using google::protobuf::io::CodedInputStream;

// One field of a message: its number and, by wire type, its value.
struct Field {
  int number = 0;
  uint64_t integer = 0;
  float real = 0;
  std::string bytes;
};

// Calls take(field) for every field; false if the bytes are no message.
bool each_field(const std::string& message, const std::function<void(const Field&)>& take) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(message.data()),
                      static_cast<int>(message.size()));
  while (const uint32_t tag = in.ReadTag()) {
    Field field{.number = static_cast<int>(tag >> 3U), .integer = 0, .real = 0, .bytes = {}};
    uint32_t size = 0, fixed = 0;
    switch (tag & 7U) {
      case 0:
        if (!in.ReadVarint64(&field.integer)) return false;
        break;
      case 1: {
        uint64_t unused = 0;
        if (!in.ReadLittleEndian64(&unused)) return false;
        break;
      }
      case 2:
        if (!in.ReadVarint32(&size) || !in.ReadString(&field.bytes, static_cast<int>(size)))
          return false;
        break;
      case 5:
        if (!in.ReadLittleEndian32(&fixed)) return false;
        static_assert(sizeof fixed == sizeof field.real);
        std::memcpy(&field.real, &fixed, sizeof fixed);
        break;
      default:
        return false;
    }
    take(field);
  }
  return in.ConsumedEntireMessage();
}

}  // namespace

// Numbers of fields as in SentencePiece's sentencepiece_model.proto.
SentencePieceModel SentencePieceModel::load(const std::filesystem::path& path) {
  const std::string file = path.string();
  SentencePieceModel model;
  uint64_t kind = 1;  // unigram
  std::string normalizer = "identity";
  bool whole = true, rewrites = false;
  const auto piece = [&](const Field& outer) {
    Piece one;
    whole &= each_field(outer.bytes, [&](const Field& field) {
      if (field.number == 1) one.text = field.bytes;
      if (field.number == 2) one.score = field.real;
      if (field.number == 3) one.kind = static_cast<Kind>(field.integer);
    });
    model.pieces.push_back(std::move(one));
  };
  const auto trainer = [&](const Field& outer) {
    whole &= each_field(outer.bytes, [&](const Field& field) {
      if (field.number == 3) kind = field.integer;
    });
  };
  const auto rules = [&](const Field& outer) {
    whole &= each_field(outer.bytes, [&](const Field& field) {
      if (field.number == 1) normalizer = field.bytes;
      if (field.number == 2) rewrites = !field.bytes.empty();
      if (field.number == 3) model.dummy_prefix = field.integer != 0;
      if (field.number == 4) model.removes_spaces = field.integer != 0;
    });
  };
  whole &= each_field(read_file(path), [&](const Field& field) {
    if (field.number == 1) piece(field);
    if (field.number == 2) trainer(field);
    if (field.number == 3) rules(field);
  });
  if (!whole || model.pieces.empty()) throw InputError(file, 0, "not a SentencePiece model");
  constexpr uint64_t kBpe = 2;
  if (kind != kBpe)
    throw InputError(file, 0, "a SentencePiece model of another kind than BPE is not supported");
  if (rewrites)
    throw InputError(file, 0,
                     fmt::format("normaliser '{}' is not supported; known: identity", normalizer));
  return model;
}

}  // namespace llmcf::text
