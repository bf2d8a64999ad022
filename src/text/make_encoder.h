// Encoders by name, and encoders on disk.
//
//   encode:
//     kind: lsa            # lsa | model2vec | endpoint; another room adds bert (OutsideKind)
//     width: 256           # lsa: see LsaOptions; endpoint: see EndpointEncoderOptions
//     path: ../encoders/x  # model2vec: directory, relative to the configuration file
//     max_tokens: 512      # model2vec
//
// Every later stage reopens the encoder from the one directory that save_encoder() wrote, so that
// the texts of items, chains of thought and requests live in the same space.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "core/config.h"
#include "text/encoder.h"

namespace llmcf::text {

// An encoder whose model stays where it is: saved is what its section says.
class OutsideEncoder : public Encoder {
 public:
  virtual std::string kind() const = 0;
  virtual std::string section() const = 0;  // JSON; paths are absolute
};

// A kind that another room makes. Both read every key of the section and call finish().
struct OutsideKind {
  std::string name;
  std::function<void(const Config& section)> check;
  std::function<std::unique_ptr<OutsideEncoder>(const Config& section)> make;
};

// `outside` may be null: then its kind is unknown.
// `corpus`: the texts that an encoder is fitted on (lsa; others ignore it). Keys that the caller
// has not read and the encoder does not know are errors. Throws InputError naming the known kinds.
// Reads the section and makes nothing: a mistake in it shows before the stages that come first.
void check_encoder(const Config& section, const OutsideKind* outside = nullptr);
std::unique_ptr<Encoder> make_encoder(const Config& section,
                                      std::span<const std::string_view> corpus,
                                      const OutsideKind* outside = nullptr);

// Writes the encoder's files, then `encoder.json`, into `directory` (created if needed). A later
// load_encoder() gives an encoder with the same fingerprint, or fails if the files do not belong
// together. Tokens of endpoints are not written, only the variable's name.
void save_encoder(const Encoder& encoder, const std::filesystem::path& directory);
std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& directory,
                                      const OutsideKind* outside = nullptr);

}  // namespace llmcf::text
