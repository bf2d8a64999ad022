#include "serve/spec.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace llmcf::serve {

namespace {

using Json = nlohmann::ordered_json;

const std::vector<std::string> kKinds = {"user_id", "item_id", "column", "number"};
const std::vector<std::string> kRoles = {"user", "item", "context", "history"};
const std::vector<std::string> kOrders = {"similar_last", "similar_first", "time", "random"};

template <typename Enum>
Enum parse(const Json& value, const char* key, const std::vector<std::string>& names) {
  const auto name = value.at(key).get<std::string>();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw Error(unknown_name(key, name, names));
  return static_cast<Enum>(found - names.begin());
}

template <typename Enum>
const std::string& name_of(Enum value, const std::vector<std::string>& names) {
  return names[static_cast<size_t>(value)];
}

Json fields_json(const std::vector<BundleField>& fields) {
  Json list = Json::array();
  for (const BundleField& field : fields)
    list.push_back({{"name", field.spec.name},
                    {"table", field.spec.table},
                    {"role", name_of(field.spec.role, kRoles)},
                    {"single", field.spec.single},
                    {"kind", name_of(field.kind, kKinds)},
                    {"item_field", field.item_field},
                    {"pads", field.pads}});
  return list;
}

std::vector<BundleField> fields_of(const Json& list) {
  std::vector<BundleField> fields;
  for (const Json& entry : list) {
    BundleField field;
    field.spec.name = entry.at("name").get<std::string>();
    field.spec.table = entry.at("table").get<int>();
    field.spec.role = parse<models::FieldRole>(entry, "role", kRoles);
    field.spec.single = entry.at("single").get<bool>();
    field.kind = parse<ValueKind>(entry, "kind", kKinds);
    field.item_field = entry.at("item_field").get<int>();
    field.pads = entry.at("pads").get<bool>();
    fields.push_back(std::move(field));
  }
  return fields;
}

Json context_json(const BundleContext& context) {
  return {{"kind", context.kind},         {"heads", context.heads},
          {"merged", context.merged},     {"residual", context.residual},
          {"evidence", context.evidence}, {"alignment", context.alignment},
          {"gated", context.gated}};
}

BundleContext context_of(const Json& json) {
  return {.kind = json.at("kind").get<std::string>(),
          .heads = json.at("heads").get<int64_t>(),
          .merged = json.at("merged").get<bool>(),
          .residual = json.at("residual").get<bool>(),
          .evidence = json.at("evidence").get<bool>(),
          .alignment = json.at("alignment").get<bool>(),
          .gated = json.at("gated").get<bool>()};
}

Json sequence_json(const BundleSequence& sequence) {
  return {{"user_ids", sequence.user_ids},
          {"fusion", sequence.concat_fusion ? "concat" : "add"},
          {"context_weight", sequence.context_weight}};
}

BundleSequence sequence_of(const Json& json) {
  return {.user_ids = json.at("user_ids").get<bool>(),
          .concat_fusion = parse<int>(json, "fusion", {"add", "concat"}) == 1,
          .context_weight = json.at("context_weight").get<double>()};
}

Json retrieval_json(const BundleSpec& spec) {
  const retrieval::RetrievalOptions& options = spec.retrieval;
  return {{"k", options.k},
          {"positives", options.wanted_positives()},
          {"history_weight", options.history_weight},
          {"order", name_of(options.order, kOrders)},
          {"min_similarity", options.min_similarity},
          {"normalize", options.normalize},
          {"seed", options.seed},
          {"folds", spec.folds},
          {"width", spec.retrieval_width},
          {"collaborative", spec.collaborative},
          {"neighbours", spec.neighbours},
          {"cells", spec.scan.cells},
          {"probes", spec.scan.probes}};
}

void read_retrieval(const Json& json, BundleSpec& spec) {
  retrieval::RetrievalOptions& options = spec.retrieval;
  options.k = json.at("k").get<int64_t>();
  options.positives = json.at("positives").get<int64_t>();
  options.history_weight = json.at("history_weight").get<double>();
  options.order = parse<retrieval::Order>(json, "order", kOrders);
  options.min_similarity = json.at("min_similarity").get<double>();
  options.normalize = json.at("normalize").get<bool>();
  options.seed = json.at("seed").get<int64_t>();
  spec.folds = json.at("folds").get<int64_t>();
  spec.retrieval_width = json.at("width").get<int64_t>();
  spec.collaborative = json.at("collaborative").get<double>();
  spec.neighbours = json.at("neighbours").get<int64_t>();
  spec.scan.cells = json.value("cells", int64_t{0});
  spec.scan.probes = json.value("probes", int64_t{0});
}

Json tables_json(const std::vector<models::TableSpec>& tables) {
  Json list = Json::array();
  for (const models::TableSpec& table : tables)
    list.push_back({{"name", table.name}, {"rows", table.rows}});
  return list;
}

}  // namespace

int64_t BundleSpec::slot_features() const {
  models::FeatureSpec features;
  for (const BundleField& field : fields)
    if (field.spec.table >= 0) features.fields.push_back(field.spec);
  return models::slot_feature_count(features);
}

std::string BundleSpec::to_json() const {
  Json figures = Json::object();
  for (const auto& [metric, value] : metrics)
    figures[metric] = value;
  Json json{{"name", name},
            {"variant", variant},
            {"seed", seed},
            {"created", created},
            {"made_by", made_by},
            {"data_version", data_version},
            {"paper", paper},
            {"metrics", figures},
            {"backbone", backbone},
            {"backbone_options", backbone_options},
            {"embed_dim", embed_dim},
            {"context", context_json(context)},
            {"tables", tables_json(tables)},
            {"fields", fields_json(fields)},
            {"sequence_fields", sequence_fields},
            {"history_length", history_length},
            {"text_dim", text_dim},
            {"users", users},
            {"items", items},
            {"examples", examples},
            {"retrieval", retrieval_json(*this)},
            {"reasoners", reasoners},
            {"encoder", encoder},
            {"newest_example", newest_example},
            {"log_end", log_end}};
  if (sequence) json["sequence"] = sequence_json(*sequence);
  return json.dump();
}

BundleSpec BundleSpec::from_json(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    BundleSpec spec;
    const auto read = [&](const char* key, auto& value) { json.at(key).get_to(value); };
    read("name", spec.name);
    read("variant", spec.variant);
    read("seed", spec.seed);
    read("created", spec.created);
    read("made_by", spec.made_by);
    read("data_version", spec.data_version);
    read("paper", spec.paper);
    for (const auto& [metric, value] : json.at("metrics").items())
      spec.metrics.emplace_back(metric, value.get<double>());
    read("backbone", spec.backbone);
    read("backbone_options", spec.backbone_options);
    read("embed_dim", spec.embed_dim);
    spec.context = context_of(json.at("context"));
    if (json.contains("sequence")) spec.sequence = sequence_of(json.at("sequence"));
    for (const Json& table : json.at("tables"))
      spec.tables.push_back(
          {.name = table.at("name").get<std::string>(), .rows = table.at("rows").get<int64_t>()});
    spec.fields = fields_of(json.at("fields"));
    read("sequence_fields", spec.sequence_fields);
    read("history_length", spec.history_length);
    read("text_dim", spec.text_dim);
    read("users", spec.users);
    read("items", spec.items);
    read("examples", spec.examples);
    read_retrieval(json.at("retrieval"), spec);
    read("reasoners", spec.reasoners);
    read("encoder", spec.encoder);
    read("newest_example", spec.newest_example);
    read("log_end", spec.log_end);
    return spec;
  } catch (const Json::exception& error) {
    throw Error(fmt::format("the description of the bundle is damaged: {}", error.what()));
  }
}

}  // namespace llmcf::serve
