#include "pipeline/run_config.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "core/error.h"

namespace llmcf::pipeline {

namespace {

std::vector<Variant> read_variants(const Config& config, const Config& model, const Config& train) {
  std::vector<Variant> variants;
  std::set<std::string> names;
  for (const Config& entry : config.list("variants")) {
    const auto name = entry.require<std::string>("name");
    check_directory_name(entry, name);
    if (!names.insert(name).second)
      entry.fail("name", fmt::format("two variants are named '{}'", name));
    variants.push_back({.name = name,
                        .model = Config::overlay(model, entry.section("model")),
                        .train = Config::overlay(train, entry.section("train"))});
    entry.finish();
  }
  if (variants.empty()) {
    config.fail("variants",
                "at least one is needed, e.g. '- {name: none, model: {context: none}}'");
  }
  return variants;
}

}  // namespace

void check_directory_name(const Config& entry, const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  if (name.empty() || name[0] == '.' || !std::all_of(name.begin(), name.end(), allowed)) {
    entry.fail("name",
               fmt::format("'{}' names a directory: use letters, digits, '-', '_' and '.'", name));
  }
}

void apply_overrides(Config& config, const std::vector<std::string>& overrides) {
  for (const std::string& override_text : overrides) {
    const size_t equals = override_text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw Error(fmt::format("--set {}: expected path=value, e.g. train.epochs=3", override_text));
    }
    config.set(override_text.substr(0, equals), override_text.substr(equals + 1));
  }
}

RunConfig RunConfig::load(const std::filesystem::path& file,
                          const std::vector<std::string>& overrides) {
  Config config = Config::load(file);
  apply_overrides(config, overrides);
  return from(config, file.stem().string());
}

RunConfig RunConfig::from(const Config& config, const std::string& default_name) {
  RunConfig run{.name = config.get<std::string>("name", default_name),
                .workspace = config.directory() / config.get<std::string>("workspace", "workspace"),
                .protocol = config.get_choice("protocol", "strict", {"strict", "paper"}),
                .seeds = config.get<std::vector<int64_t>>("seeds", {2023}),
                .variants = {},
                .data = config.section("data"),
                .split = config.section("split"),
                .encode = config.section("encode"),
                .reason = config.section("reason"),
                .pool = config.section("pool"),
                .teach = config.section("teach"),
                .retrieve = config.section("retrieve"),
                .drift = config.section("drift"),
                .text = config.yaml()};
  if (run.seeds.empty()) config.fail("seeds", "at least one seed is needed");
  std::set<int64_t> seen;
  for (const int64_t seed : run.seeds) {
    if (!seen.insert(seed).second) {
      config.fail("seeds", fmt::format("{} stands twice; runs of one seed are one run", seed));
    }
  }
  run.variants = read_variants(config, config.section("model"), config.section("train"));
  config.finish();
  return run;
}

}  // namespace llmcf::pipeline
