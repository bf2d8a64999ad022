#include "llm/tuning_run.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/progress.h"
#include "llm/device.h"
#include "llm/engine.h"
#include "llm/model_directory.h"
#include "llm/tuner.h"

namespace llmcf::llm {

namespace {

namespace fs = std::filesystem;

struct Source {
  fs::path path;
  double weight = 0;
  bool learns_all = false;
  std::vector<Conversation> conversations;
};

struct Plan {
  EngineOptions model;
  fs::path out;
  uint64_t seed = 2023;
  std::vector<Source> sources;
  bool weighted = false;
  int64_t total = 0;
  double valid_share = 0.02;
  int64_t length = 1024;
  bool packs = true;
  double memory_gib = 0;
  TuneOptions tune;
};

LoraOptions read_lora(const Config& section) {
  LoraOptions lora;
  lora.rank = section.get_int("rank", 8, 1, 4096);
  lora.alpha = section.get_number("alpha", 16, 1e-6, 1e6);
  lora.dropout = section.get_number("dropout", 0, 0, 0.99);
  lora.targets = section.get("targets", lora.targets);
  section.finish();
  return lora;
}

TuneOptions read_tune(const Config& section, uint64_t seed) {
  TuneOptions options;
  options.seed = seed;
  options.epochs = section.get_int("epochs", options.epochs, 1, 100000);
  options.rows_per_step = section.get_int("rows_per_step", options.rows_per_step, 1, 1 << 20);
  options.rows_at_once = section.get_int("rows_at_once", options.rows_per_step, 1, 1 << 20);
  options.learning_rate = section.get_number("learning_rate", options.learning_rate, 0, 10);
  options.warm_up = section.get_number("warm_up", options.warm_up, 0, 1);
  options.last_rate = section.get_number("last_rate", options.last_rate, 0, 1);
  options.weight_decay = section.get_number("weight_decay", options.weight_decay, 0, 10);
  const auto betas = section.get<std::vector<double>>("betas", {options.beta1, options.beta2});
  if (betas.size() != 2) section.fail("betas", "expected two numbers");
  options.beta1 = betas[0];
  options.beta2 = betas[1];
  options.epsilon = section.get_number("epsilon", options.epsilon, 0, 1);
  options.clip = section.get_number("clip", options.clip, 0, 1e9);
  const auto anchor = section.get_choice("anchor", "none", {"none", "l1", "l2"});
  options.anchor = anchor == "l1" ? Anchor::kL1 : anchor == "l2" ? Anchor::kL2 : Anchor::kNone;
  options.anchor_strength = section.get_number("anchor_strength", 0, 0, 1e9);
  options.recompute = section.get("recompute", false);
  options.save_every = section.get_int("save_every", options.save_every, 0, 1 << 30);
  if (section.has("lora")) options.lora = read_lora(section.section("lora"));
  section.finish();
  options.check();
  return options;
}

Plan read_plan(const Config& config) {
  Plan plan;
  const fs::path base = config.directory();
  plan.model.model = base / config.require<std::string>("model");
  plan.out = base / config.require<std::string>("out");
  plan.model.device = config.get<std::string>("device", "auto");
  plan.model.dtype = config.get<std::string>("dtype", "auto");
  plan.model.chat = config.get<std::string>("chat", "auto");
  plan.seed = static_cast<uint64_t>(config.get_int("seed", 2023, 0, INT64_MAX));
  for (const Config& source : config.list("data")) {
    plan.sources.push_back(
        {.path = base / source.require<std::string>("path"),
         .weight = source.get_number("weight", 0, 0, 1e9),
         .learns_all = source.get_choice("learn", "answers", {"answers", "all"}) == "all",
         .conversations = {}});
    plan.weighted = plan.weighted || source.has("weight");
    source.finish();
  }
  if (plan.sources.empty()) config.fail("data", "names no file to tune on");
  plan.total = config.get_int("total", 0, 0, INT64_MAX);
  plan.valid_share = config.get_number("valid_share", plan.valid_share, 0, 0.5);
  plan.length = config.get_int("length", plan.length, 2, 1 << 20);
  plan.packs = config.get("pack", true);
  plan.memory_gib = config.get_number("memory_gib", 0, 0, 1e6);
  plan.tune = read_tune(config.section("tune"), plan.seed);
  config.finish();
  for (Source& source : plan.sources)
    source.conversations = read_conversations(source.path);
  return plan;
}

// The last share of every source is held out.
int64_t training_part(const Source& source, double valid_share) {
  const auto size = static_cast<int64_t>(source.conversations.size());
  return size - static_cast<int64_t>(valid_share * static_cast<double>(size));
}

void check_memory(const Plan& plan, const ModelConfig& config, torch::Dtype dtype,
                  torch::Device device) {
  const MemoryEstimate needed = estimate_memory(config, dtype, plan.tune, plan.length);
  log::info("memory: {}", needed.text());
  double available = plan.memory_gib * (1 << 30);
  if (available == 0 && device.is_cpu())
    available =
        static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (available > 0 && static_cast<double>(needed.total()) > available)
    throw Error(
        fmt::format("this needs about {}; there are {:.1f} GiB. Smaller: rows_at_once, length, "
                    "dtype: bfloat16, "
                    "recompute: true, lora",
                    needed.text(), available / (1 << 30)));
}

std::string key_of(const Plan& plan, const Config& config) {
  std::string key = model_identity(plan.model) + config.canonical({"out", "memory_gib"});
  for (const Source& source : plan.sources)
    key += hash_file(source.path);
  return hash_hex(key);
}

}  // namespace

TuningReport run_tuning(const Config& config) {
  Plan plan = read_plan(config);
  if (fs::exists(plan.out))
    throw Error(
        fmt::format("{} is there already; remove it or choose another `out`", plan.out.string()));
  const torch::Device device = device_named(plan.model.device);
  const torch::Dtype dtype = dtype_named(plan.model.dtype, device);
  const ModelConfig described = ModelConfig::load(plan.model.model);
  if (plan.length > described.max_positions)
    throw Error(fmt::format("length is {}; the model knows {} positions", plan.length,
                            described.max_positions));
  check_memory(plan, described, dtype, device);
  const auto tokenizer = text::load_language_tokenizer(plan.model.model);
  const ChatTemplate chat = chat_template_of(plan.model.chat, plan.model.model, *tokenizer);

  std::vector<int64_t> sizes;
  std::vector<double> weights;
  std::vector<TokenizedText> held_out, chosen;
  const auto read = [&](const Source& source, size_t index) {
    TokenizedText text = tokenize(source.conversations[index], chat, *tokenizer);
    if (source.learns_all) std::fill(text.learned.begin() + 1, text.learned.end(), 1);
    return text;
  };
  for (const Source& source : plan.sources) {
    sizes.push_back(training_part(source, plan.valid_share));
    if (plan.weighted) weights.push_back(source.weight);
    for (size_t i = static_cast<size_t>(sizes.back()); i < source.conversations.size(); ++i)
      held_out.push_back(read(source, i));
  }
  for (const Pick& pick : mix(sizes, weights, plan.total, plan.seed))
    chosen.push_back(
        read(plan.sources[static_cast<size_t>(pick.source)], static_cast<size_t>(pick.index)));
  const PackedRows rows = pack(chosen, plan.length, !plan.packs);
  const PackedRows valid = pack(held_out, plan.length, !plan.packs);
  TuningReport report{.conversations = static_cast<int64_t>(chosen.size()),
                      .rows = rows.rows(),
                      .cut = rows.cut,
                      .dropped = rows.dropped,
                      .out = plan.out};
  log::info("{} conversations in {} rows of {} tokens; {} cut, {} without an answer left out",
            report.conversations, report.rows, plan.length, report.cut, report.dropped);

  const auto model = LanguageModel::load(plan.model.model, dtype, device);
  if (valid.rows() > 0) report.valid_before = evaluate_loss(*model, valid, plan.tune.rows_at_once);
  const fs::path state = plan.out.string() + ".state";
  const auto losses =
      tune(*model, rows, plan.tune, state, key_of(plan, config), [&](const TuneStep& step) {
        if (step.step % 20 == 0 || step.step == step.steps)
          log::info("step {} of {}: loss {:.4f}, {:.0f} tokens/s", step.step, step.steps, step.loss,
                    step.tokens_per_second);
      });
  report.steps = static_cast<int64_t>(losses.size());
  report.first_loss = losses.front();
  report.last_loss = losses.back();
  if (valid.rows() > 0) report.valid_after = evaluate_loss(*model, valid, plan.tune.rows_at_once);
  if (plan.tune.lora.rank > 0) {
    save_adapter(*model, plan.tune.lora, plan.model.model.string(), plan.out);
  } else {
    save_model(*model, plan.model.model, plan.out);
  }
  fs::remove(state);
  return report;
}

}  // namespace llmcf::llm
