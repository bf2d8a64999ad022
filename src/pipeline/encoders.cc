#include "pipeline/encoders.h"

#include "llm/bert_encoder.h"
#include "text/make_encoder.h"

namespace llmcf::pipeline {

namespace {

const text::OutsideKind& bert() {
  static const text::OutsideKind kind = {
      .name = "bert",
      .check =
          [](const Config& section) {
            llm::BertEncoder::identity(llm::BertEncoderOptions::from(section));
          },
      .make =
          [](const Config& section) {
            return std::make_unique<llm::BertEncoder>(llm::BertEncoderOptions::from(section));
          }};
  return kind;
}

}  // namespace

void check_encoder(const Config& section) {
  text::check_encoder(section, &bert());
}

std::unique_ptr<text::Encoder> make_encoder(const Config& section,
                                            std::span<const std::string_view> corpus) {
  return text::make_encoder(section, corpus, &bert());
}

std::unique_ptr<text::Encoder> load_encoder(const std::filesystem::path& directory) {
  return text::load_encoder(directory, &bert());
}

std::string encoder_identity(const Config& section) {
  if (section.get<std::string>("kind", "lsa") != bert().name) return "";
  return llm::BertEncoder::identity(llm::BertEncoderOptions::from(section));
}

}  // namespace llmcf::pipeline
