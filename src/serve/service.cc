#include "serve/service.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "net/http_server.h"
#include "serve/service_view.h"

namespace llmcf::serve {

namespace {

constexpr int64_t kLatest = int64_t{1} << 40;  // Unix seconds that are accepted
constexpr size_t kListFactor = 100;            // events and items per request of a batch

}  // namespace

ServiceLimits ServiceLimits::from(const Config& section) {
  ServiceLimits limits;
  const auto read = [&](const char* key, size_t& value) {
    value =
        static_cast<size_t>(section.get_int(key, static_cast<int64_t>(value), 1, int64_t{1} << 24));
  };
  read("candidates", limits.candidates);
  read("history", limits.history);
  read("batch", limits.batch);
  read("window", limits.window);
  read("shadow_queue", limits.shadow_queue);
  section.finish();
  return limits;
}

Service::Service(std::filesystem::path bundle, std::unique_ptr<HistoryStore> histories,
                 const ServiceLimits& limits, FirstStageOptions first_stage)
    : histories_(std::move(histories)),
      limits_(limits),
      first_stage_(std::move(first_stage)),
      shadow_queue_(limits.shadow_queue) {
  const std::lock_guard lock(reloading_);
  open_candidates();
  put_into_service(Role::kPrimary, {.release = open(Role::kPrimary, bundle), .file = bundle});
}

// One request, or those of a batch.
RankedAnswers Service::each(const Json& body, const std::string& id, One one) {
  JsonReader reader(body);
  const Arrival arrival{releases_.lineup(), id};
  if (!body.contains("requests")) return {.batch = false, .each = {(this->*one)(reader, arrival)}};
  auto requests = reader.objects("requests", limits_.batch);
  reader.finish();
  RankedAnswers answers{.batch = true, .each = {}};
  for (JsonReader& request : *requests)
    answers.each.push_back((this->*one)(request, arrival));
  return answers;
}

// An explicit history, or the log's and what has been appended since.
void Service::read_history(JsonReader& request, View& view) {
  Past& past = view.past;
  past.user = request.text("user");
  past.given = request.texts("history", limits_.history);
  const Bundle& bundle = view.deployment->bundle();
  if (past.user && past.user->empty())
    request.fail("user", "is empty; leave it out for an unknown user");
  if (past.user && !past.given) {
    const auto start = std::chrono::steady_clock::now();
    int64_t after = events_after(bundle, *past.user);
    // Every bundle that reads them gets what it lacks.
    if (view.candidates != nullptr)
      after = std::min(after, events_after(view.candidates->sequence().bundle(), *past.user));
    if (view.shadow != nullptr)
      after = std::min(after, events_after(view.shadow->deployment.bundle(), *past.user));
    past.events = histories_->events(*past.user, after, static_cast<int64_t>(limits_.history));
    metrics_.stage("histories", seconds_since(start));
  }
  view.know(history_of(bundle, *view.catalogue, past));
  if (past.user && !view.known_user) metrics_.unknown("user", 1);
  metrics_.unknown("history_item", view.unknown_history);
}

Service::View Service::view_of(JsonReader& request, const Arrival& arrival) {
  View view;
  const auto user = request.text("user");
  // Who is not named is divided by request.
  std::string key;
  if (user || !arrival.id.empty())
    key = fmt::format("{} {}", user ? "user" : "id", user ? *user : arrival.id);
  view.take(arrival.lineup->answering(key));
  if (view.release->role == Role::kPrimary) view.shadow = arrival.lineup->shadowing(key);
  read_history(request, view);
  view.time = request.integer("time", now(), 0, kLatest);
  const auto& fields = view.deployment->spec().fields;
  view.context.resize(fields.size());
  view.context_ids.resize(fields.size());
  auto context = request.object("context");
  for (size_t f = 0; context && f < fields.size(); ++f) {
    if (fields[f].spec.role != models::FieldRole::kContext) continue;
    const std::string& name = fields[f].spec.name;
    if (fields[f].kind == ValueKind::kNumber) {
      view.context[f].number = static_cast<float>(context->number(name, 0, -1e30, 1e30));
      continue;
    }
    const auto value = context->text(name);
    const auto id = value ? view.deployment->bundle().vocabulary(f).find(*value) : std::nullopt;
    if (id) view.context_ids[f] = {*id};
    if (value && !id) metrics_.unknown("context_value", 1);
    view.context[f].ids = view.context_ids[f];
  }
  if (context) context->finish();
  return view;
}

// REQUIRES: the thread's arena is this request's.
Service::Scored Service::score(const View& view, std::span<const int32_t> candidates,
                               float* attention) {
  if (view.deployment->sequence() != nullptr) return score_by_state(view, candidates, attention);
  ScratchArena& arena = arena_of_thread();
  const Deployment& deployment = *view.deployment;
  const BundleSpec& spec = deployment.spec();
  const auto count = static_cast<int64_t>(candidates.size());
  Scored scored;
  const bool examples = spec.context.reads_examples() && spec.examples > 0;
  scored.slots = Slots::make(count, examples ? spec.retrieval.k : 0, arena);
  auto start = std::chrono::steady_clock::now();
  if (const ExampleSearch* search = deployment.search(); search != nullptr) {
    const int64_t fold = search->fold_of(view.user);
    scored.history_vector.resize(static_cast<size_t>(spec.retrieval_width));
    search->history_vector(*view.catalogue, fold, view.history, scored.history_vector.data());
    if (examples) {
      search->search(*view.catalogue, fold, scored.history_vector.data(), candidates, arena,
                     scored.slots);
    } else {
      search->align(*view.catalogue, fold, scored.history_vector.data(), candidates, scored.slots);
    }
    scored.retrieve_seconds = seconds_since(start);
  }
  start = std::chrono::steady_clock::now();
  scored.logits = arena.span<float>(count);
  deployment.scorer().score({.catalogue = *view.catalogue,
                             .sample = view.sample(),
                             .candidates = candidates,
                             .slots = &scored.slots,
                             .time = view.time,
                             .attention = attention},
                            arena, scored.logits);
  scored.score_seconds = seconds_since(start);
  const int32_t* ids = scored.slots.ids;
  scored.without_examples =
      spec.context.reads_examples() && count > 0 &&
      std::all_of(ids, ids + count * scored.slots.k, [](int32_t id) { return id < 0; });
  if (view.release->role != Role::kShadow) count_stages(scored, count);
  return scored;
}

// `names`: what the request called its candidates; null = as the catalogue does. `order`: their
// places.
Ranked Service::answer(const View& view, const Scored& scored, std::span<const int32_t> candidates,
                       const std::vector<std::string>* names, std::span<const int32_t> order) {
  const auto missing =
      scored.without_examples ? std::optional(Fallback::kNoExamples) : view.text_fallback();
  Ranked answer;
  answer.bundle = view.deployment->bundle().version();
  answer.release = role_name(view.release->role);
  answer.known_user = view.known_user;
  answer.history = view.history.size();
  if (missing) answer.fallback = fallback_name(*missing);
  answer.unknown_history = view.unknown_history;
  answer.products = scored.products;
  answer.items.reserve(order.size());
  for (const int32_t at : order) {
    const auto index = static_cast<size_t>(at);
    const float logit = scored.logits[index];
    answer.items.push_back({.name = names != nullptr
                                        ? (*names)[index]
                                        : std::string(view.catalogue->name(candidates[index])),
                            .score = scored.products ? logit : probability(logit)});
  }
  return answer;
}

RankedAnswers Service::rank(const Json& body, const std::string& id) {
  return each(body, id, &Service::rank_one);
}

Ranked Service::rank_one(JsonReader& request, const Arrival& arrival) {
  const View view = view_of(request, arrival);
  const auto names = request.texts("candidates", limits_.candidates);
  if (!names) request.fail("candidates", "is missing: the items to rank");
  const auto k = static_cast<size_t>(
      request.integer("k", static_cast<int64_t>(names->size()), 0, int64_t{1} << 24));
  request.finish();
  ScratchArena& arena = arena_of_thread();
  arena.reset();
  std::vector<int32_t> candidates;
  std::vector<std::string> unknown;
  candidates.reserve(names->size());
  for (const std::string& name : *names) {
    const auto row = view.catalogue->find(name);
    candidates.push_back(row.value_or(view.deployment->unknown_item()));
    if (!row) unknown.push_back(name);
  }
  const Scored scored = score(view, candidates, nullptr);
  metrics_.unknown("candidate", static_cast<int64_t>(unknown.size()));
  Ranked ranked = answer(view, scored, candidates, &*names, best_first(scored.logits, k));
  ranked.unknown_candidates = std::move(unknown);
  answered(view, scored, candidates, &*names);
  return ranked;
}

Json Service::explain(const Json& body, const std::string& request_id) {
  JsonReader request(body);
  const View view = view_of(request, {releases_.lineup(), request_id});
  const std::string name = request.required_text("item");
  request.finish();
  ScratchArena& arena = arena_of_thread();
  arena.reset();
  const Deployment& deployment = *view.deployment;
  const auto row = view.catalogue->find(name);
  const std::vector<int32_t> candidates = {row.value_or(deployment.unknown_item())};
  const int64_t k = deployment.spec().retrieval.k;
  std::vector<float> attention(static_cast<size_t>(k), 0.0F);
  const bool attends = deployment.spec().context.kind.starts_with("ict");
  const Scored scored = score(view, candidates, attends ? attention.data() : nullptr);
  Json answer = {{"bundle", deployment.bundle().version()},
                 {"release", role_name(view.release->role)},
                 {"item", name},
                 {"known_item", row.has_value()},
                 {"known_user", view.known_user},
                 {"history", view.history.size()},
                 {"score", scored.shown(0)}};
  if (deployment.spec().context.reads_examples())
    explain_examples(view, scored, candidates[0], attention, answer);
  return answer;
}

// The examples that were read, and the score without them.
void Service::explain_examples(const View& view, const Scored& scored, int32_t candidate,
                               std::span<const float> attention, Json& answer) const {
  ScratchArena& arena = arena_of_thread();
  const Deployment& deployment = *view.deployment;
  const bool attends = deployment.spec().context.kind.starts_with("ict");
  if (deployment.sequence() == nullptr) {
    Slots none = Slots::make(1, scored.slots.k, arena);
    none.alignment[0] = scored.slots.alignment[0];
    auto without = arena.span<float>(1);
    deployment.scorer().score({.catalogue = *view.catalogue,
                               .sample = view.sample(),
                               .candidates = {&candidate, 1},
                               .slots = &none,
                               .time = view.time},
                              arena, without);
    answer["score_without_examples"] = probability(without[0]);
    answer["alignment"] = scored.slots.alignment[0];
  } else if (candidate <= deployment.spec().items) {
    answer["score_without_examples"] = without_examples(view, candidate);
  }
  const Examples& examples = deployment.bundle().examples();
  Json list = Json::array();
  for (int64_t slot = scored.slots.k; slot-- > 0;) {
    const int32_t id = scored.slots.ids[slot];
    if (id < 0) continue;
    const auto at = static_cast<size_t>(id);
    Json example = {{"item", view.catalogue->name(examples.item[at])},
                    {"title", view.catalogue->title(examples.item[at])},
                    {"taken", examples.label[at] == 1},
                    {"time", examples.time[at]},
                    {"similarity", scored.slots.similarity[slot]},
                    {"history_similarity", scored.slots.history_similarity[slot]},
                    {"item_similarity", scored.slots.target_similarity[slot]},
                    {"reasoning", examples.text[id]}};
    if (attends) example["attention"] = attention[static_cast<size_t>(slot)];
    list.push_back(std::move(example));
  }
  answer["examples"] = std::move(list);
  answer["reasoners"] = deployment.spec().reasoners;
}

Json Service::add_events(const Json& body) {
  JsonReader request(body);
  auto list = request.objects("events", limits_.batch * kListFactor);
  if (!list) request.fail("events", "is missing: a list of {user, item, time}");
  request.finish();
  std::vector<StoredEvent> events;
  const int64_t moment = now();
  for (JsonReader& one : *list) {
    events.push_back({.user = one.required_text("user"),
                      .item = one.required_text("item"),
                      .time = one.integer("time", moment, 0, kLatest)});
    one.finish();
  }
  const auto start = std::chrono::steady_clock::now();
  histories_->append(events);
  metrics_.stage("append", seconds_since(start));
  metrics_.events(static_cast<int64_t>(events.size()));
  return {{"stored", events.size()}};
}

ItemDefinition Service::item_of(JsonReader& item) const {
  ItemDefinition definition{.name = item.required_text("item"),
                            .title = item.text("title").value_or(""),
                            .text = item.text("text").value_or(""),
                            .fields = {}};
  if (auto fields = item.object("fields")) {
    for (const std::string& field : fields->keys())
      definition.fields[field] = *fields->texts(field, 1000);
    fields->finish();
  }
  item.finish();
  return definition;
}

Json Service::add_items(const Json& body) {
  JsonReader request(body);
  auto list = request.objects("items", limits_.batch * kListFactor);
  if (!list) request.fail("items", "is missing: a list of {item, title, text, fields}");
  request.finish();
  const std::lock_guard lock(reloading_);  // so that no bundle comes into service without it
  const auto lineup = releases_.lineup();
  const Deployment& primary = lineup->of(Role::kPrimary).release->deployment;
  if (primary.sequence() != nullptr)
    throw net::HttpError(
        400,
        "a sequence bundle knows items by what was learned about them, and nothing "
        "was about a new one: publish a run that has it",
        "items");
  std::vector<ItemDefinition> items;
  for (JsonReader& one : *list) {
    items.push_back(item_of(one));
    try {
      primary.check(items.back());
    } catch (const Error& error) {
      throw net::HttpError(400, error.what(), one.path_of("fields"));
    }
  }
  const std::vector<std::string> ignored = add_to_all(*lineup, items);
  for (size_t index = 0; index < items.size(); ++index)
    histories_->put_item({.name = items[index].name, .json = body.at("items")[index].dump()});
  Json answer = {{"stored", list->size()}};
  if (!ignored.empty()) answer["ignored_values"] = ignored;
  return answer;
}

Json Service::forget(const std::string& user) {
  return {{"removed_events", histories_->erase(user)}};
}

}  // namespace llmcf::serve
