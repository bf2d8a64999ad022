#include "serve/releases.h"

#include <cmath>

#include "core/error.h"
#include "core/hash.h"

namespace llmcf::serve {

namespace {

constexpr double kCanaryShare = 0.05;

// Where a key stands in [0, 1), for each role another place.
double place_of(Role role, const std::string& key) {
  Hasher hasher;
  hasher.add_field(role_name(role));
  hasher.add_field(key);
  constexpr int kDigits = 13;  // 52 bits: what a double holds exactly
  return std::ldexp(static_cast<double>(std::stoull(hasher.hex().substr(0, kDigits), nullptr, 16)),
                    -4 * kDigits);
}

bool has(const Lineup::Place& place, Role role, const std::string& key) {
  if (place.release == nullptr || place.share <= 0) return false;
  if (place.share >= 1) return true;
  return !key.empty() && place_of(role, key) < place.share;
}

// Examples are in the order of their time.
int64_t median_time(const Bundle& bundle) {
  const auto times = bundle.examples().time;
  return times.empty() ? 0 : times[times.size() / 2];
}

}  // namespace

std::string_view role_name(Role role) {
  switch (role) {
    case Role::kPrimary:
      return "primary";
    case Role::kCanary:
      return "canary";
    case Role::kShadow:
      return "shadow";
  }
  throw Error("role_name: unknown role");
}

Release::Release(Role as, const std::filesystem::path& file, size_t length,
                 const ItemListOptions& list)
    : role(as),
      deployment(file, list),
      window(length, RetrievalProfile::read(deployment.bundle().reader())),
      median_example(median_time(deployment.bundle())) {}

const std::shared_ptr<Release>& Lineup::answering(const std::string& key) const {
  const Place& canary = of(Role::kCanary);
  return has(canary, Role::kCanary, key) ? canary.release : of(Role::kPrimary).release;
}

std::shared_ptr<Release> Lineup::shadowing(const std::string& key) const {
  const Place& shadow = of(Role::kShadow);
  return has(shadow, Role::kShadow, key) ? shadow.release : nullptr;
}

std::shared_ptr<const Lineup> Releases::lineup() const {
  const std::lock_guard lock(guard_);
  return lineup_;
}

void Releases::put(Role role, Lineup::Place place) {
  const std::lock_guard lock(guard_);
  Lineup next = *lineup_;
  next.places[static_cast<size_t>(role)] = std::move(place);
  lineup_ = std::make_shared<const Lineup>(std::move(next));
}

double default_share(Role role) {
  return role == Role::kCanary ? kCanaryShare : 1;
}

std::optional<SecondBundle> SecondBundle::from(const Config& config, Role role) {
  const std::string key(role_name(role));
  if (!config.has(key)) return std::nullopt;
  const Config section = config.section(key);
  SecondBundle second{.file = config.directory() / section.require<std::string>("bundle"),
                      .share = section.get_number("share", default_share(role), 0, 1)};
  section.finish();
  if (!std::filesystem::exists(second.file))
    section.fail("bundle", "is no file: `llmcf publish` writes one");
  return second;
}

}  // namespace llmcf::serve
