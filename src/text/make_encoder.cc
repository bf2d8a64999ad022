#include "text/make_encoder.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "text/endpoint_encoder.h"
#include "text/lsa.h"
#include "text/model2vec.h"

namespace llmcf::text {

namespace {

using Json = nlohmann::json;
using Path = std::filesystem::path;
using Corpus = std::span<const std::string_view>;

constexpr const char* kRecord = "encoder.json";
constexpr int64_t kFormat = 1;
constexpr const char* kLsaFile = "lsa.safetensors";

std::unique_ptr<Encoder> make_lsa(const Config& section, Corpus corpus) {
  const LsaOptions options = LsaOptions::from(section);
  section.finish();
  return std::make_unique<Lsa>(Lsa::fit(corpus, options));
}

std::unique_ptr<Encoder> make_model2vec(const Config& section, Corpus) {
  const Path path = section.directory() / section.require<std::string>("path");
  const int64_t max_tokens = section.get_int("max_tokens", 512, 0, INT64_MAX);
  section.finish();
  return std::make_unique<Model2Vec>(Model2Vec::load(path, max_tokens));
}

std::unique_ptr<Encoder> make_endpoint(const Config& section, Corpus) {
  EndpointEncoderOptions options = EndpointEncoderOptions::from(section);
  section.finish();
  return std::make_unique<EndpointEncoder>(std::move(options));
}

// Writes what an encoder needs besides the record, adds to the record; false if of another kind.
bool save_lsa(const Encoder& encoder, const Path& directory, Json&) {
  const auto* lsa = dynamic_cast<const Lsa*>(&encoder);
  if (lsa != nullptr) lsa->save(directory / kLsaFile);
  return lsa != nullptr;
}

bool save_model2vec(const Encoder& encoder, const Path& directory, Json& record) {
  const auto* model = dynamic_cast<const Model2Vec*>(&encoder);
  if (model == nullptr) return false;
  model->save(directory);
  record["max_tokens"] = model->max_tokens();
  return true;
}

bool save_endpoint(const Encoder& encoder, const Path&, Json& record) {
  const auto* endpoint = dynamic_cast<const EndpointEncoder*>(&encoder);
  if (endpoint == nullptr) return false;
  const EndpointEncoderOptions& options = endpoint->options();
  const net::RetryPolicy& retry = options.retry;
  record["options"] = {{"base_url", options.base_url},
                       {"model", options.model},
                       {"width", options.width},
                       {"send_dimensions", options.send_dimensions},
                       {"token_env", options.token_env},
                       {"batch", options.batch},
                       {"concurrency", options.concurrency},
                       {"max_bytes_per_text", options.max_bytes_per_text},
                       {"timeout_ms", options.timeout.count()},
                       {"retry",
                        {{"max_attempts", retry.max_attempts},
                         {"base_delay_ms", retry.base_delay.count()},
                         {"max_delay_ms", retry.max_delay.count()},
                         {"max_retry_after_ms", retry.max_retry_after.count()},
                         {"jitter", retry.jitter}}}};
  return true;
}

std::unique_ptr<Encoder> load_lsa(const Path& directory, const Json&) {
  return std::make_unique<Lsa>(Lsa::load(directory / kLsaFile));
}

std::unique_ptr<Encoder> load_model2vec(const Path& directory, const Json& record) {
  return std::make_unique<Model2Vec>(
      Model2Vec::load(directory, record.at("max_tokens").get<int64_t>()));
}

// JSON is YAML: the options come back the way they came in.
std::unique_ptr<Encoder> load_endpoint(const Path& directory, const Json& record) {
  const Config config = Config::parse(record.at("options").dump(), (directory / kRecord).string());
  return make_endpoint(config, {});
}

void check_lsa(const Config& section) {
  LsaOptions::from(section);
}

void check_model2vec(const Config& section) {
  section.require<std::string>("path");
  section.get_int("max_tokens", 512, 0, INT64_MAX);
}

void check_endpoint(const Config& section) {
  EndpointEncoderOptions::from(section);
}

struct Kind {
  const char* name;
  void (*check)(const Config& section);  // reads every key
  std::unique_ptr<Encoder> (*make)(const Config& section, Corpus corpus);
  bool (*save)(const Encoder& encoder, const Path& directory, Json& record);
  std::unique_ptr<Encoder> (*load)(const Path& directory, const Json& record);
};

constexpr Kind kKinds[] = {
    {"lsa", check_lsa, make_lsa, save_lsa, load_lsa},
    {"model2vec", check_model2vec, make_model2vec, save_model2vec, load_model2vec},
    {"endpoint", check_endpoint, make_endpoint, save_endpoint, load_endpoint},
};

const Kind* find_kind(const std::string& name) {
  for (const Kind& kind : kKinds)
    if (kind.name == name) return &kind;
  return nullptr;
}

std::string no_such_kind(const std::string& name, const OutsideKind* outside) {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds)
    names.emplace_back(kind.name);
  if (outside != nullptr) names.push_back(outside->name);
  return unknown_name("encoder", name, names);
}

}  // namespace

void check_encoder(const Config& section, const OutsideKind* outside) {
  const auto name = section.get<std::string>("kind", "lsa");
  if (outside != nullptr && name == outside->name) return outside->check(section);
  const Kind* kind = find_kind(name);
  if (kind == nullptr) section.fail("kind", no_such_kind(name, outside));
  kind->check(section);
  section.finish();
}

std::unique_ptr<Encoder> make_encoder(const Config& section,
                                      std::span<const std::string_view> corpus,
                                      const OutsideKind* outside) {
  const auto name = section.get<std::string>("kind", "lsa");
  if (outside != nullptr && name == outside->name) return outside->make(section);
  const Kind* kind = find_kind(name);
  if (kind == nullptr) section.fail("kind", no_such_kind(name, outside));
  return kind->make(section, corpus);
}

void save_encoder(const Encoder& encoder, const std::filesystem::path& directory) {
  std::filesystem::create_directories(directory);
  Json record = {{"format", kFormat}, {"fingerprint", encoder.fingerprint()}};
  if (const auto* outside = dynamic_cast<const OutsideEncoder*>(&encoder)) {
    record["kind"] = outside->kind();
    record["options"] = Json::parse(outside->section());
    return write_file(directory / kRecord, record.dump(2) + "\n");
  }
  for (const Kind& kind : kKinds) {
    if (!kind.save(encoder, directory, record)) continue;
    record["kind"] = kind.name;
    return write_file(directory / kRecord, record.dump(2) + "\n");
  }
  throw Error(fmt::format("encoder '{}' cannot be saved", encoder.name()));
}

std::unique_ptr<Encoder> load_encoder(const std::filesystem::path& directory,
                                      const OutsideKind* outside) {
  const std::string file = (directory / kRecord).string();
  try {
    const Json record = Json::parse(read_file(file));
    if (record.at("format") != kFormat)
      throw InputError(
          file, 0,
          fmt::format("format {} is not supported; encode again", record["format"].dump()));
    const auto name = record.at("kind").get<std::string>();
    const bool is_outside = outside != nullptr && name == outside->name;
    const Kind* kind = find_kind(name);
    if (kind == nullptr && !is_outside) throw InputError(file, 0, no_such_kind(name, outside));
    std::unique_ptr<Encoder> encoder =
        is_outside ? outside->make(Config::parse(record.at("options").dump(), file))
                   : kind->load(directory, record);
    if (encoder->fingerprint() != record.at("fingerprint").get<std::string>())
      throw InputError(file, 0,
                       fmt::format("fingerprint is {}, the files give {}: they do not belong "
                                   "together; encode again",
                                   record["fingerprint"].dump(), encoder->fingerprint()));
    return encoder;
  } catch (const Json::exception& error) {
    throw InputError(file, 0, fmt::format("not an encoder's record: {}", error.what()));
  }
}

}  // namespace llmcf::text
