// text/make_encoder.h with `bert` among the kinds: it needs libtorch, which room text does not.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/config.h"
#include "text/encoder.h"

namespace llmcf::pipeline {

void check_encoder(const Config& section);
std::unique_ptr<text::Encoder> make_encoder(const Config& section,
                                            std::span<const std::string_view> corpus);
std::unique_ptr<text::Encoder> load_encoder(const std::filesystem::path& directory);

// What vectors depend on beside the section's text: the content of a model outside the workspace.
// Empty where there is none. Loads nothing.
std::string encoder_identity(const Config& section);

}  // namespace llmcf::pipeline
