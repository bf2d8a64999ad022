#include "models/options.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "models/model.h"
#include "models/sequence_model.h"

namespace llmcf::models {

namespace {

struct ContextName {
  ContextKind kind;
  const char* name;
};

constexpr ContextName kContexts[] = {{ContextKind::kNone, "none"},
                                     {ContextKind::kText, "text"},
                                     {ContextKind::kConcat, "concat"},
                                     {ContextKind::kIct, "ict"},
                                     {ContextKind::kIctWithoutCot, "ict_wocot"},
                                     {ContextKind::kMean, "mean"},
                                     {ContextKind::kKar, "kar"}};

ContextKind read_context(const Config& config) {
  std::vector<std::string> names;
  for (const ContextName& context : kContexts)
    names.emplace_back(context.name);
  const std::string name = config.get_choice("context", "none", names);
  const auto* found = std::find_if(std::begin(kContexts), std::end(kContexts),
                                   [&](const ContextName& c) { return name == c.name; });
  return found->kind;
}

bool is_in_context(ContextKind kind) {
  return kind == ContextKind::kIct || kind == ContextKind::kIctWithoutCot ||
         kind == ContextKind::kMean;
}

std::vector<int64_t> read_widths(const Config& config, const std::string& key,
                                 const std::vector<int64_t>& fallback, bool may_be_empty = false) {
  const auto widths = config.get<std::vector<int64_t>>(key, fallback);
  if (widths.empty() && !may_be_empty) config.fail(key, "needs at least one width");
  for (const int64_t width : widths)
    if (width < 1) config.fail(key, fmt::format("a width is positive, got {}", width));
  return widths;
}

void read_ict(const Config& config, ModelOptions& options) {
  const bool told = config.get_choice("module", options.paper ? "published" : "told",
                                      {"told", "published"}) == "told";
  options.ict_layers = config.get_int("layers", told ? 1 : 2, 1, 64);
  options.ict_heads = config.get_int("heads", options.ict_heads, 1, 1024);
  options.ict_hidden = config.get_int("hidden", options.ict_hidden, 0, 1 << 20);
  options.reconstruction_weight =
      config.get_number("reconstruction_weight", told ? 0.5 : 1.0, 0.0, 1e6);
  options.reconstruction_map =
      read_widths(config, "reconstruction_map", options.reconstruction_map, true);
  options.ict_evidence = config.get<bool>("evidence", told);
  options.ict_merged =
      config.get_choice("tokens", told ? "merged" : "separate", {"separate", "merged"}) == "merged";
  options.ict_residual = config.get<bool>("residual", told);
  options.ict_own_cot_map = config.get_choice("cot_map", "shared", {"shared", "own"}) == "own" &&
                            options.context == ContextKind::kIct;
  options.alignment = told && is_in_context(options.context);  // the default of model.alignment
  if (options.token_map.back() % (2 * options.ict_heads) != 0)
    config.fail("heads", fmt::format("the token width {} is not a multiple of 2 x {} heads",
                                     options.token_map.back(), options.ict_heads));
  config.finish();
}

void read_kar(const Config& config, ModelOptions& options) {
  options.kar_shared_experts = config.get_int("shared_experts", options.kar_shared_experts, 0, 256);
  options.kar_specific_experts =
      config.get_int("specific_experts", options.kar_specific_experts, 1, 256);
  options.kar_map = read_widths(config, "map", {128, std::max<int64_t>(1, options.embed_dim / 2)});
  options.kar_dropout = config.get_number("dropout", options.kar_dropout, 0.0, 0.99);
  config.finish();
}

// Without a context there is nothing to gate; a context that reads no examples has no similarities.
bool read_gate(const Config& config, ContextKind context) {
  const bool asked = config.get_choice("gate", "none", {"none", "similarity"}) == "similarity";
  if (asked && context != ContextKind::kNone && !uses_examples(context))
    config.fail("gate", fmt::format("'similarity' needs a context that reads examples, not '{}'",
                                    context_name(context)));
  return asked && context != ContextKind::kNone;
}

// Other backbones' sections may be there for other variants of the run.
void check_backbone_sections(const Config& config, const ModelOptions& options) {
  for (const CtrEntry& entry : ctr_models())
    if (const std::string name(entry.name); config.has(name))
      entry.check(config.section(name), {.paper = options.paper, .context = options.context});
  for (const SequenceEntry& entry : sequence_models())
    if (const std::string name(entry.name); config.has(name)) entry.check(config.section(name));
}

void read_click(const Config& config, ModelOptions& options) {
  options.mlp = read_widths(config, "mlp", options.mlp);
  read_kar(config.section("kar"), options);
  options.alignment =
      config.get<bool>("alignment", options.alignment) && options.context != ContextKind::kNone;
  options.gated = read_gate(config, options.context);
  const Config distillation = config.section("distillation");
  options.distillation_weight = distillation.get_number("weight", 0.0, 0.0, 1e6);
  options.distillation_temperature = distillation.get_number("temperature", 1.0, 1e-3, 1e3);
  distillation.finish();
  options.trains_linear_bias = config.get_choice("linear_bias", options.paper ? "fixed" : "trained",
                                                 {"trained", "fixed"}) == "trained";
  options.loss_on_probabilities =
      config.get_choice("loss", options.paper ? "probabilities" : "logits",
                        {"logits", "probabilities"}) == "probabilities";
}

void set_sequence_defaults(ModelOptions& options) {
  options.embed_dim = 64;
  options.reconstruction_map = {};
}

void read_sequence(const Config& config, ModelOptions& options) {
  const SequenceNeeds& needs = sequence_model(options.backbone).needs;
  if (options.context == ContextKind::kKar)
    config.fail("context", "'kar' has no place in a sequence model");
  options.alignment = false;  // there is no target to be close to
  SequenceOptions& sequence = options.sequence;
  static const std::vector<std::string> kLosses = {"softmax", "sampled", "in_batch", "bpr", "gbce"};
  const std::string loss =
      config.get_choice("loss", options.paper ? "sampled" : "softmax", kLosses);
  sequence.loss =
      static_cast<NextItemLoss>(std::find(kLosses.begin(), kLosses.end(), loss) - kLosses.begin());
  sequence.every_position =
      config.get_choice("targets", needs.every_position && !options.paper ? "every" : "last",
                        {"every", "last"}) == "every";
  if (sequence.every_position && !needs.every_position)
    config.fail("targets",
                fmt::format("'{}' has one state per history: use 'last'", options.backbone));
  sequence.negatives = config.get_int("negatives", sequence.negatives, 1, 1 << 24);
  sequence.calibration = config.get_number("calibration", sequence.calibration, 0, 1);
  sequence.concat_fusion = config.get_choice("fusion", needs.concat_fusion ? "concat" : "add",
                                             {"add", "concat"}) == "concat";
  sequence.user_ids = config.get<bool>("user_ids", options.paper);
  sequence.context_weight = config.get_number("context_weight", sequence.context_weight, 0, 1e6);
}

}  // namespace

std::vector<std::string> all_backbone_names() {
  std::vector<std::string> names = backbone_names();
  for (const std::string& name : sequence_backbone_names())
    names.push_back(name);
  return names;
}

std::string_view context_name(ContextKind kind) {
  for (const ContextName& context : kContexts)
    if (context.kind == kind) return context.name;
  return "unknown";
}

bool uses_examples(ContextKind kind) {
  return is_in_context(kind) || kind == ContextKind::kConcat;
}

bool uses_text(ContextKind kind) {
  return is_in_context(kind) || kind == ContextKind::kText;
}

bool uses_cot(ContextKind kind) {
  return kind == ContextKind::kIct || kind == ContextKind::kMean || kind == ContextKind::kConcat;
}

bool reads_slot_features(const ModelOptions& options) {
  return is_in_context(options.context) && options.ict_evidence;
}

bool uses_retrieval(const ModelOptions& options) {
  return uses_examples(options.context) || options.alignment;
}

ModelOptions ModelOptions::from(const Config& config, const std::string& protocol) {
  if (protocol != "strict" && protocol != "paper")
    throw Error(unknown_name("protocol", protocol, {"strict", "paper"}));
  ModelOptions options;
  options.paper = protocol == "paper";
  options.backbone = config.get_choice("backbone", options.backbone, all_backbone_names());
  const bool sequence = is_sequence_backbone(options.backbone);
  if (sequence) set_sequence_defaults(options);
  options.embed_dim = config.get_int("embed_dim", options.embed_dim, 1, 65536);
  options.dropout = config.get_number("dropout", options.dropout, 0.0, 0.99);
  options.context = read_context(config);
  options.backbone_options = config.section(options.backbone);
  check_backbone_sections(config, options);
  const std::vector<int64_t> width = {options.embed_dim};
  options.text_map = read_widths(config, "text_map", sequence ? width : options.text_map);
  options.token_map = read_widths(config, "token_map", sequence ? width : options.token_map);
  if (options.text_map.back() != options.token_map.back())
    config.fail("token_map", fmt::format("tokens are {} wide here and {} wide in text_map",
                                         options.token_map.back(), options.text_map.back()));
  read_ict(config.section("ict"), options);
  if (config.has("init"))
    options.init = config.get_choice("init", "default", {"default", "xavier"});
  if (sequence) {
    read_sequence(config, options);
  } else {
    read_click(config, options);
  }
  options.decays_padding = config.get_choice("padding", options.paper ? "decayed" : "zero",
                                             {"zero", "decayed"}) == "decayed";
  config.finish();
  return options;
}

}  // namespace llmcf::models
