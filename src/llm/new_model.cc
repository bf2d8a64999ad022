#include "llm/new_model.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "llm/device.h"
#include "llm/language_model.h"
#include "llm/model_directory.h"
#include "text/language_tokenizer.h"

namespace llmcf::llm {

int64_t new_model(const NewModel& what, const std::filesystem::path& directory) {
  if (what.heads < 1 || what.hidden % (2 * what.heads) != 0)
    throw Error(fmt::format("{} heads do not share a width of {} evenly, with an even width each",
                            what.heads, what.hidden));
  const TemporaryDirectory fresh;
  write_file(fresh.path() / "tokenizer.model", read_file(what.tokenizer));
  const auto tokenizer = text::load_language_tokenizer(fresh.path());
  const nlohmann::ordered_json config = {{"architectures", {"LlamaForCausalLM"}},
                                         {"model_type", "llama"},
                                         {"vocab_size", tokenizer->size()},
                                         {"hidden_size", what.hidden},
                                         {"intermediate_size", what.intermediate},
                                         {"num_hidden_layers", what.layers},
                                         {"num_attention_heads", what.heads},
                                         {"num_key_value_heads", what.heads},
                                         {"max_position_embeddings", what.positions},
                                         {"rms_norm_eps", 1e-5},
                                         {"rope_theta", 10000.0},
                                         {"hidden_act", "silu"},
                                         {"tie_word_embeddings", true},
                                         {"bos_token_id", 1},
                                         {"eos_token_id", 2},
                                         {"torch_dtype", "float32"}};
  write_file(fresh.path() / "config.json", config.dump(2) + "\n");
  const nlohmann::ordered_json specials = {{"tokenizer_class", "LlamaTokenizer"},
                                           {"bos_token", "<s>"},
                                           {"eos_token", "</s>"},
                                           {"unk_token", "<unk>"},
                                           {"add_bos_token", true},
                                           {"add_eos_token", false},
                                           {"legacy", false}};
  write_file(fresh.path() / "tokenizer_config.json", specials.dump(2) + "\n");
  LanguageModel model(ModelConfig::load(fresh.path()), torch::kFloat, torch::kCPU);
  model.initialise(what.seed);
  save_model(model, fresh.path(), directory);
  return model.config().parameters();
}

void convert(const std::filesystem::path& model, const std::string& dtype,
             const std::filesystem::path& directory) {
  const torch::Dtype wanted = dtype_named(dtype, torch::kCPU);
  save_model(*LanguageModel::load(model, wanted, torch::kCPU), model, directory);
}

}  // namespace llmcf::llm
