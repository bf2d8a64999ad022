// The part of the service that knows of several bundles: opening and swapping them, what is counted
// of each, and the shadow's scores.
#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"
#include "net/http_server.h"
#include "serve/service_view.h"

namespace llmcf::serve {

namespace {

// Added items that fit; what does not is told and left out.
std::vector<ItemDefinition> fitting(const Deployment& deployment, Role role,
                                    std::span<const ItemDefinition> items) {
  std::vector<ItemDefinition> fit;
  for (const ItemDefinition& item : items) {
    try {
      deployment.check(item);
      fit.push_back(item);
    } catch (const Error& error) {
      log::warn("added item '{}' does not fit the {} bundle: {}", item.name, role_name(role),
                error.what());
    }
  }
  return fit;
}

Json number_or_null(double value) {
  return std::isnan(value) ? Json() : Json(std::round(value * 1e6) / 1e6);
}

Json window_json(const Release& release) {
  const WindowFigures figures = release.window.figures();
  Json fallbacks = Json::object();
  for (int reason = 0; reason < kFallbacks; ++reason)
    fallbacks[std::string(fallback_name(static_cast<Fallback>(reason)))] =
        number_or_null(figures.fallbacks[static_cast<size_t>(reason)]);
  return {{"requests", figures.requests},
          {"population_stability", number_or_null(figures.population_stability)},
          {"kolmogorov_smirnov", number_or_null(figures.kolmogorov_smirnov)},
          {"candidates_with_examples", number_or_null(figures.with_examples)},
          {"candidates_complete", number_or_null(figures.complete)},
          {"slots_filled", number_or_null(figures.filled)},
          {"fallbacks", std::move(fallbacks)}};
}

}  // namespace

std::shared_ptr<Deployment> Service::deployment() const {
  const std::shared_ptr<Release> primary = releases_.lineup()->of(Role::kPrimary).release;
  return {primary, &primary->deployment};
}

// REQUIRES: reloading_ is held, so that no item is added meanwhile.
std::shared_ptr<Release> Service::open(Role role, const std::filesystem::path& file) {
  auto next = std::make_shared<Release>(role, file, limits_.window, first_stage_.list);
  pair(next->deployment);
  const Bundle& bundle = next->deployment.bundle();
  std::vector<ItemDefinition> items;
  for (const StoredItem& stored : histories_->items()) {
    if (next->deployment.sequence() != nullptr) break;  // none can be added to it
    if (bundle.items().find(stored.name)) continue;     // the bundle has learned about it
    try {
      const Json json = Json::parse(stored.json);
      JsonReader reader(json);
      items.push_back(item_of(reader));
    } catch (const std::exception& error) {
      log::warn("item '{}', added before, cannot be read: {}", stored.name, error.what());
    }
  }
  items = fitting(next->deployment, role, items);
  next->deployment.add(items);
  const BundleSpec& spec = bundle.spec();
  log::info(
      "bundle {} in service as {}: {} {}, {} items, {} users, {} examples, {} items added "
      "before",
      bundle.version(), role_name(role), spec.backbone, spec.context.kind, spec.items, spec.users,
      spec.examples, items.size());
  return next;
}

// REQUIRES: reloading_ is held.
void Service::put_into_service(Role role, Lineup::Place place) {
  const Deployment& deployment = place.release->deployment;
  const BundleSpec& spec = deployment.spec();
  if (role == Role::kPrimary)
    metrics_.bundle(deployment.bundle().version(), spec.examples,
                    spec.items + deployment.catalogue()->added() - 1, spec.newest_example);
  release_metrics_.in_service(role, deployment.bundle().version());
  releases_.put(role, std::move(place));
}

Json Service::reload(Role role) {
  const std::lock_guard lock(reloading_);
  Lineup::Place place = releases_.lineup()->of(role);
  if (place.release == nullptr)
    throw net::HttpError(409, fmt::format("there is no {} to reload: POST /v1/{} puts one into "
                                          "service",
                                          role_name(role), role_name(role)));
  try {
    Json answer = reopen(role, std::move(place));
    metrics_.reload(true);
    return answer;
  } catch (...) {
    metrics_.reload(false);
    throw;
  }
}

// REQUIRES: reloading_ is held.
Json Service::reopen(Role role, Lineup::Place place) {
  std::exception_ptr problem;
  if (role == Role::kPrimary && !first_stage_.candidates.empty()) {
    problem = open_candidates();
    for (const Lineup::Place& other : releases_.lineup()->places)  // whoever stays, has them too
      if (problem == nullptr && other.release != nullptr) pair(other.release->deployment);
  }
  place.release = open(role, place.file);
  const std::string version = place.release->deployment.bundle().version();
  put_into_service(role, std::move(place));
  if (problem != nullptr) std::rethrow_exception(problem);
  return {{"bundle", version}, {"release", role_name(role)}};
}

void Service::put(Role role, const SecondBundle& second) {
  LLMCF_ASSERT(role != Role::kPrimary);
  const std::lock_guard lock(reloading_);
  put_into_service(
      role, {.release = open(role, second.file), .file = second.file, .share = second.share});
}

Json Service::put(Role role, const Json& body) {
  JsonReader request(body);
  const auto file = request.text("bundle");
  const auto lineup = releases_.lineup();
  const Lineup::Place& now = lineup->of(role);
  const double share = request.number("share", now.release ? now.share : default_share(role), 0, 1);
  request.finish();
  if (!file && !now.release)
    request.fail("bundle", "is missing: the file that becomes the " + std::string(role_name(role)));
  if (file) {
    try {
      put(role, SecondBundle{.file = *file, .share = share});
    } catch (const Error& error) {
      request.fail("bundle", error.what());
    }
  } else {
    const std::lock_guard lock(reloading_);
    Lineup::Place place = releases_.lineup()->of(role);
    if (!place.release) request.fail("bundle", "is missing: it was removed meanwhile");
    place.share = share;
    releases_.put(role, std::move(place));
  }
  return {{"bundle", releases_.lineup()->of(role).release->deployment.bundle().version()},
          {"release", role_name(role)},
          {"share", share}};
}

Json Service::remove(Role role) {
  LLMCF_ASSERT(role != Role::kPrimary);
  const std::lock_guard lock(reloading_);
  const bool there = releases_.lineup()->of(role).release != nullptr;
  releases_.put(role, {});
  release_metrics_.in_service(role, "");
  return {{"removed", there}};
}

std::vector<std::string> Service::add_to_all(const Lineup& lineup,
                                             std::span<const ItemDefinition> items) {
  std::vector<std::string> ignored = lineup.of(Role::kPrimary).release->deployment.add(items);
  for (const Role role : {Role::kCanary, Role::kShadow})
    if (const auto& release = lineup.of(role).release;
        release != nullptr && release->deployment.sequence() == nullptr)
      release->deployment.add(fitting(release->deployment, role, items));
  return ignored;
}

Json Service::info() const {
  const auto lineup = releases_.lineup();
  const Deployment& primary = lineup->of(Role::kPrimary).release->deployment;
  Json answer = Json::parse(primary.spec().to_json());
  answer["bundle"] = primary.bundle().version();
  answer["added_items"] = primary.catalogue()->added() - 1;
  answer["histories"] = histories_->kind();
  if (const auto candidates = primary.candidates(); candidates != nullptr)
    answer["candidates"] = {{"bundle", candidates->sequence().bundle().version()},
                            {"backbone", candidates->sequence().spec().backbone},
                            {"items", candidates->sequence().spec().items},
                            {"items_not_ranked", candidates->only_listed()},
                            {"items_not_listed", candidates->only_ranked()}};
  Json& releases = answer["releases"] = Json::object();
  for (const Role role : kRoles) {
    const Lineup::Place& place = lineup->of(role);
    if (!place.release) continue;
    const Deployment& deployment = place.release->deployment;
    Json& told = releases[std::string(role_name(role))] = {
        {"bundle", deployment.bundle().version()}, {"file", place.file.string()},
        {"name", deployment.spec().name},          {"variant", deployment.spec().variant},
        {"seed", deployment.spec().seed},          {"created", deployment.spec().created}};
    if (role != Role::kPrimary) told["share"] = place.share;
    if (place.release->median_example > 0)
      told["pool"] = {{"newest_example", deployment.spec().newest_example},
                      {"median_example", place.release->median_example}};
    told["window"] = window_json(*place.release);
  }
  return answer;
}

std::vector<Role> Service::roles() const {
  std::vector<Role> there;
  const auto lineup = releases_.lineup();
  for (const Role role : kRoles)
    if (lineup->of(role).release) there.push_back(role);
  return there;
}

void Service::update_gauges() {
  const auto lineup = releases_.lineup();
  const double canary = lineup->of(Role::kCanary).release ? lineup->of(Role::kCanary).share : 0;
  for (const Role role : kRoles) {
    const Lineup::Place& place = lineup->of(role);
    if (!place.release) continue;
    release_metrics_.update(*place.release, role == Role::kPrimary ? 1 - canary : place.share,
                            now());
  }
  release_metrics_.shadow_queue(shadow_queue_.waiting());
}

void Service::count_stages(const Scored& scored, int64_t candidates) {
  if (scored.retrieve_seconds > 0) metrics_.stage("retrieve", scored.retrieve_seconds);
  metrics_.stage("score", scored.score_seconds);
  metrics_.candidates(candidates);
  if (scored.without_examples) metrics_.fallback("no_examples");
  if (!scored.without_examples && scored.slots.k > 0 && candidates > 0)
    metrics_.similarity(
        *std::max_element(scored.slots.similarity, scored.slots.similarity + scored.slots.k));
}

void Service::observe(const View& view, const Scored& scored, std::span<const int32_t> candidates) {
  const Examples& examples = view.deployment->bundle().examples();
  RequestRecord record;
  AgeCounts ages;
  const auto k = static_cast<size_t>(scored.slots.k);
  const auto rows = std::min(candidates.size(), static_cast<size_t>(scored.slots.candidates));
  for (size_t i = 0; k > 0 && i < rows; ++i) {
    const std::span<const int32_t> ids(scored.slots.ids + i * k, k);
    record.retrieval.add(ids, {scored.slots.similarity + i * k, k});
    for (const int32_t id : ids)
      if (id >= 0) ages.add(view.time - examples.time[static_cast<size_t>(id)]);
  }
  if (scored.without_examples) record.mark(Fallback::kNoExamples);
  if (view.history.empty()) record.mark(Fallback::kNoHistory);
  if (const auto missing = view.text_fallback()) record.mark(*missing);
  const auto lengths = view.deployment->bundle().user_text_length();
  const int64_t read = lengths.empty() ? 0 : lengths[static_cast<size_t>(view.user)];
  if (read > 0)
    release_metrics_.user_text_age(
        view.release->role, std::max<int64_t>(0, static_cast<int64_t>(view.history.size()) - read));
  if (std::find(candidates.begin(), candidates.end(), view.deployment->unknown_item()) !=
      candidates.end())
    record.mark(Fallback::kUnknownCandidates);
  const std::span<const float> logits = scored.products ? std::span<const float>() : scored.logits;
  release_metrics_.scored(view.release->role, record, logits, ages);
  release_metrics_.answered(view.release->role, seconds_since(view.start));
  view.release->window.add(record);
}

void Service::answered(const View& view, const Scored& scored, std::span<const int32_t> candidates,
                       const std::vector<std::string>* names) {
  observe(view, scored, candidates);
  if (view.shadow == nullptr) return;
  if (shadow_queue_.full()) {
    release_metrics_.shadow_dropped();
    return;
  }
  // Of the copy everything counts but the spans of its context, which point at the original.
  const bool taken =
      shadow_queue_.offer([this, view, rows = std::vector(candidates.begin(), candidates.end()),
                           given = names == nullptr ? std::vector<std::string>() : *names,
                           expected = std::vector(scored.logits.begin(), scored.logits.end()),
                           products = scored.products] {
        try {
          score_as_shadow(view, rows, given, expected, products);
        } catch (...) {
          release_metrics_.shadow_failed();
          throw;
        }
      });
  if (!taken) release_metrics_.shadow_dropped();
}

// The same request as the shadow's bundle would read it: everything by name. A context value that
// the primary does not know is missing.
Service::View Service::shadow_view(const View& view) {
  View copy;
  copy.take(view.shadow);
  const Bundle& bundle = copy.deployment->bundle();
  copy.time = view.time;
  copy.past = view.past;
  copy.know(history_of(bundle, *copy.catalogue, copy.past));
  const auto& fields = copy.deployment->spec().fields;
  const auto& theirs = view.deployment->spec().fields;
  copy.context.resize(fields.size());
  copy.context_ids.resize(fields.size());
  for (size_t f = 0; f < fields.size(); ++f) {
    if (fields[f].spec.role != models::FieldRole::kContext) continue;
    const auto same = std::find_if(theirs.begin(), theirs.end(), [&](const BundleField& field) {
      return field.spec.name == fields[f].spec.name && field.kind == fields[f].kind;
    });
    if (same == theirs.end()) continue;
    const auto from = static_cast<size_t>(same - theirs.begin());
    copy.context[f].number = view.context[from].number;
    for (const int32_t id : view.context_ids[from])
      if (const auto known =
              bundle.vocabulary(f).find(view.deployment->bundle().vocabulary(from)[id]))
        copy.context_ids[f].push_back(*known);
    copy.context[f].ids = copy.context_ids[f];
  }
  return copy;
}

void Service::score_as_shadow(const View& view, std::span<const int32_t> candidates,
                              const std::vector<std::string>& names,
                              std::span<const float> expected, bool products) {
  const View own = shadow_view(view);
  std::vector<int32_t> rows;
  rows.reserve(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    const std::string_view name =
        names.empty() ? view.catalogue->name(candidates[i]) : std::string_view(names[i]);
    rows.push_back(own.catalogue->find(name).value_or(own.deployment->unknown_item()));
  }
  arena_of_thread().reset();
  const Scored scored = score(own, rows, nullptr);
  observe(own, scored, rows);
  release_metrics_.compared(agreement_of(expected, scored.logits), !products && !scored.products);
}

}  // namespace llmcf::serve
