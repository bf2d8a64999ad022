#include "llm/perplexity.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "llm/adapter.h"
#include "llm/device.h"
#include "llm/language_model.h"
#include "llm/packing.h"
#include "llm/tuner.h"

namespace llmcf::llm {

Perplexity perplexity(const EngineOptions& options, const std::vector<std::filesystem::path>& files,
                      double share, int64_t length) {
  const torch::Device device = device_named(options.device);
  const auto tokenizer = text::load_language_tokenizer(options.model);
  const ChatTemplate chat = chat_template_of(options.chat, options.model, *tokenizer);
  const ModelConfig config = ModelConfig::load(options.model);
  std::vector<TokenizedText> texts;
  for (const auto& file : files) {
    const auto conversations = read_conversations(file);
    const auto wanted =
        std::max<size_t>(1, static_cast<size_t>(share * static_cast<double>(conversations.size())));
    for (size_t i = conversations.size() - wanted; i < conversations.size(); ++i)
      texts.push_back(tokenize(conversations[i], chat, *tokenizer));
  }
  const PackedRows rows = pack(texts, std::min(length, config.max_positions));
  Perplexity result{.conversations = static_cast<int64_t>(texts.size()) - rows.dropped,
                    .tokens = std::count_if(rows.targets.begin(), rows.targets.end(),
                                            [](int64_t target) { return target >= 0; }),
                    .cut = rows.cut};
  if (result.tokens == 0) throw Error("no conversation has an answer within the given length");
  const auto model = LanguageModel::load(options.model, dtype_named(options.dtype, device), device);
  if (!options.adapter.empty()) load_adapter(*model, options.adapter);
  result.loss = evaluate_loss(*model, rows, 8);
  result.value = std::exp(result.loss);
  return result;
}

}  // namespace llmcf::llm
