#include "llm/openai_request.h"

#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "net/http_server.h"

namespace llmcf::llm {

namespace {

using Json = nlohmann::json;
using net::HttpError;

constexpr int64_t kCompletionTokens = 16;  // OpenAI's default for max_tokens of a completion
constexpr int64_t kAlternatives = 20;      // log-probabilities per token at most

[[noreturn]] void refuse(const std::string& field, const std::string& why) {
  throw HttpError(400, fmt::format("{}: {}", field, why), field);
}

const char* kind_of(const Json& value) {
  return value.type_name();
}

// One request's fields; null counts as absent.
class Fields {
 public:
  explicit Fields(const Json& body) : body_(body) {}

  const Json* find(const std::string& name) const {
    const auto found = body_.find(name);
    return found == body_.end() || found->is_null() ? nullptr : &*found;
  }
  bool flag(const std::string& name, bool otherwise) const {
    const Json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) refuse(name, fmt::format("{}, expected a boolean", kind_of(*value)));
    return value->get<bool>();
  }
  std::optional<int64_t> integer(const std::string& name, int64_t low, int64_t high) const {
    const Json* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)))
      refuse(name, fmt::format("{}, expected an integer", value->dump()));
    const auto number = value->get<int64_t>();
    if (number < low || number > high)
      refuse(name, fmt::format("{}, expected {} to {}", number, low, high));
    return number;
  }
  double number(const std::string& name, double otherwise, double low, double high) const {
    const Json* value = find(name);
    if (value == nullptr) return otherwise;
    if (!value->is_number()) refuse(name, fmt::format("{}, expected a number", kind_of(*value)));
    const auto found = value->get<double>();
    if (!(found >= low && found <= high))
      refuse(name, fmt::format("{}, expected {} to {}", found, low, high));
    return found;
  }
  // Refuses a field that asks for anything but what we do anyway.
  void only(const std::string& name, const Json& known, const char* instead) const {
    const Json* value = find(name);
    if (value != nullptr && *value != known)
      refuse(name, fmt::format("not supported; {}", instead));
  }

 private:
  const Json& body_;
};

void check_model(const Fields& fields, const std::string& model) {
  const Json* asked = fields.find("model");
  if (asked == nullptr) return;
  if (!asked->is_string()) refuse("model", fmt::format("{}, expected a string", kind_of(*asked)));
  if (*asked != model)
    throw HttpError(404,
                    fmt::format("model '{}' is not here; this server has '{}'",
                                asked->get<std::string>(), model),
                    "model");
}

std::vector<std::string> stops_of(const Fields& fields, const OpenAiLimits& limits) {
  const Json* stop = fields.find("stop");
  if (stop == nullptr) return {};
  const Json list = stop->is_array() ? *stop : Json::array({*stop});
  if (static_cast<int64_t>(list.size()) > limits.stops)
    refuse("stop", fmt::format("{} texts, expected at most {}", list.size(), limits.stops));
  std::vector<std::string> result;
  for (const Json& text : list) {
    if (!text.is_string() || text.get_ref<const std::string&>().empty())
      refuse("stop", "expected a text that is not empty, or a list of them");
    result.push_back(text);
  }
  return result;
}

// What chat and plain completions share. `fallback_tokens` = 0: as many as there is room for.
OpenAiRequest settings_of(const Fields& fields, const OpenAiLimits& limits, uint64_t random_seed) {
  OpenAiRequest result;
  GenerationRequest& settings = result.settings;
  settings.sampling = {.repetition_penalty = fields.number("repetition_penalty", 1, 0.01, 100),
                       .temperature = fields.number("temperature", 1, 0, 100),
                       .top_k = fields.integer("top_k", -1, INT32_MAX).value_or(0),
                       .top_p = fields.number("top_p", 1, 1e-9, 1)};
  settings.sampling.top_k = std::max<int64_t>(settings.sampling.top_k, 0);  // -1: all, as elsewhere
  settings.stop = stops_of(fields, limits);
  settings.seed = random_seed;
  if (const auto seed = fields.integer("seed", INT64_MIN, INT64_MAX))
    settings.seed = static_cast<uint64_t>(*seed);
  result.n = fields.integer("n", 1, limits.choices).value_or(1);
  result.stream = fields.flag("stream", false);
  if (const Json* options = fields.find("stream_options")) {
    if (!options->is_object()) refuse("stream_options", "expected an object");
    if (!result.stream) refuse("stream_options", "only with \"stream\": true");
    result.include_usage = Fields(*options).flag("include_usage", false);
  }
  const char* penalty = "use repetition_penalty";
  fields.only("frequency_penalty", 0, penalty);
  fields.only("presence_penalty", 0, penalty);
  fields.only("logit_bias", Json::object(), "leave it out");
  return result;
}

// Refuses prompts that leave no room, and fills what room there is where no number was asked for.
void fit(OpenAiRequest& request, const Engine& engine, const char* field,
         std::optional<int64_t> max_tokens) {
  size_t longest = 0;
  for (const auto& prompt : request.prompts) {
    if (prompt.empty()) refuse(field, "a prompt is empty: give at least one token");
    longest = std::max(longest, prompt.size());
  }
  const int64_t room = engine.capacity() - static_cast<int64_t>(longest);
  if (room < 1)
    refuse(field, fmt::format("{} tokens, and this model's context has {}: make it shorter",
                              longest, engine.capacity()));
  request.settings.max_tokens = max_tokens.value_or(room);
}

std::vector<int32_t> ids_of(const Json& list, const Engine& engine) {
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id < 0 || id >= engine.tokenizer().size())
      refuse("prompt", fmt::format("{}, expected a token of 0 to {}", id.dump(),
                                   engine.tokenizer().size() - 1));
    ids.push_back(id);
  }
  return ids;
}

std::vector<std::vector<int32_t>> prompts_of(const Fields& fields, const Engine& engine) {
  const Json* prompt = fields.find("prompt");
  if (prompt == nullptr) refuse("prompt", "is missing; expected a text");
  const auto one = [&](const Json& text) {
    return text.is_array() ? ids_of(text, engine) : engine.raw_prompt(text.get<std::string>());
  };
  if (prompt->is_string()) return {one(*prompt)};
  if (!prompt->is_array() || prompt->empty())
    refuse("prompt", "expected a text, a list of texts, or tokens");
  if (prompt->front().is_number()) return {ids_of(*prompt, engine)};
  std::vector<std::vector<int32_t>> result;
  for (const Json& text : *prompt) {
    if (!text.is_string() && !text.is_array())
      refuse("prompt", "expected a text, a list of texts, or tokens");
    result.push_back(one(text));
  }
  return result;
}

// A message's text: a string, or a list of parts of type text.
std::string content_of(const Json& message, const std::string& field) {
  const auto content = message.find("content");
  if (content == message.end()) refuse(field, "is missing");
  if (content->is_string()) return *content;
  if (!content->is_array()) refuse(field, "expected a text");
  std::string text;
  for (const Json& part : *content) {
    const bool is_text = part.is_object() && part.contains("type") && part["type"] == "text" &&
                         part.contains("text") && part["text"].is_string();
    if (!is_text) refuse(field, "only parts of type text are supported");
    text += part["text"].get<std::string>();
  }
  return text;
}

std::vector<Turn> turns_of(const Fields& fields) {
  const Json* messages = fields.find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    refuse("messages", "expected a list of messages");
  std::vector<Turn> turns;
  for (size_t i = 0; i < messages->size(); ++i) {
    const Json& message = (*messages)[i];
    const std::string field = fmt::format("messages[{}]", i);
    if (!message.is_object()) refuse(field, "expected an object with role and content");
    const auto role = message.find("role");
    if (role == message.end() || !role->is_string()) refuse(field + ".role", "expected a text");
    const std::string text = content_of(message, field + ".content");
    if (*role == "system" || *role == "developer") {
      if (i > 0) refuse(field + ".role", "a system message comes first");
      if (!text.empty()) turns.push_back({Role::kSystem, text});
      continue;
    }
    const bool users_turn = turns.empty() || turns.back().role != Role::kUser;
    if (*role != (users_turn ? "user" : "assistant"))
      refuse(field + ".role", fmt::format("{}, expected \"{}\": user and assistant take turns, the "
                                          "user first",
                                          role->dump(), users_turn ? "user" : "assistant"));
    turns.push_back({users_turn ? Role::kUser : Role::kAssistant, text});
  }
  if (turns.empty() || turns.back().role != Role::kUser)
    refuse("messages", "the last message must be the user's");
  return turns;
}

void check_count(const OpenAiRequest& request, const OpenAiLimits& limits) {
  if (request.choices() > limits.choices)
    refuse("n", fmt::format("{} prompts with n = {} are more than {} answers",
                            request.prompts.size(), request.n, limits.choices));
}

}  // namespace

GenerationRequest OpenAiRequest::generation(int64_t choice) const {
  GenerationRequest request = settings;
  request.prompt = prompts[static_cast<size_t>(choice / n)];
  request.seed = settings.seed + static_cast<uint64_t>(choice % n);
  return request;
}

Json read_body(const std::string& body) {
  try {
    Json parsed = Json::parse(body);
    if (parsed.is_object()) return parsed;
  } catch (const Json::parse_error& error) {
    throw HttpError(400, fmt::format("the body is no JSON: {}", error.what()));
  }
  throw HttpError(400, "the body is no JSON object");
}

OpenAiRequest read_completion(const Json& body, const Engine& engine, const std::string& model,
                              const OpenAiLimits& limits, uint64_t random_seed) {
  const Fields fields(body);
  check_model(fields, model);
  OpenAiRequest request = settings_of(fields, limits, random_seed);
  fields.only("echo", false, "the prompt is yours already");
  fields.only("suffix", "", "the model writes forward only");
  fields.only("best_of", request.n, "ask for n answers and choose");
  request.settings.log_probabilities = fields.integer("logprobs", 0, kAlternatives).value_or(-1);
  request.prompts = prompts_of(fields, engine);
  check_count(request, limits);
  fit(request, engine, "prompt",
      fields.integer("max_tokens", 1, INT32_MAX).value_or(kCompletionTokens));
  return request;
}

OpenAiRequest read_chat(const Json& body, const Engine& engine, const std::string& model,
                        const OpenAiLimits& limits, uint64_t random_seed) {
  const Fields fields(body);
  check_model(fields, model);
  OpenAiRequest request = settings_of(fields, limits, random_seed);
  request.chat = true;
  for (const char* name : {"tools", "functions"})
    fields.only(name, Json::array(), "this server has no tools");
  if (const Json* format = fields.find("response_format"))
    if (!format->is_object() || format->value("type", Json()) != "text")
      refuse("response_format", "not supported; only {\"type\": \"text\"}");
  const auto alternatives = fields.integer("top_logprobs", 0, kAlternatives);
  if (fields.flag("logprobs", false)) {
    request.settings.log_probabilities = alternatives.value_or(0);
  } else if (alternatives) {
    refuse("top_logprobs", "only with \"logprobs\": true");
  }
  request.prompts = {engine.prompt(turns_of(fields))};
  check_count(request, limits);
  auto max_tokens = fields.integer("max_completion_tokens", 1, INT32_MAX);
  if (!max_tokens) max_tokens = fields.integer("max_tokens", 1, INT32_MAX);
  fit(request, engine, "messages", max_tokens);
  return request;
}

EmbeddingRequest read_embedding(const Json& body, const std::string& model,
                                const OpenAiLimits& limits) {
  const Fields fields(body);
  check_model(fields, model);
  EmbeddingRequest request;
  if (const Json* format = fields.find("encoding_format")) {
    if (*format != "float" && *format != "base64")
      refuse("encoding_format",
             fmt::format("{}, expected \"float\" or \"base64\"", format->dump()));
    request.base64 = *format == "base64";
  }
  if (fields.find("dimensions") != nullptr)
    refuse("dimensions", "not supported; this model's vectors have one width");
  const Json* input = fields.find("input");
  if (input == nullptr) refuse("input", "is missing; expected a text or a list of texts");
  const Json list = input->is_array() ? *input : Json::array({*input});
  if (list.empty() || static_cast<int64_t>(list.size()) > limits.inputs)
    refuse("input", fmt::format("{} texts, expected 1 to {}", list.size(), limits.inputs));
  for (const Json& text : list) {
    if (!text.is_string() || text.get_ref<const std::string&>().empty())
      refuse("input", "expected a text that is not empty, or a list of them");
    request.texts.push_back(text);
  }
  return request;
}

}  // namespace llmcf::llm
