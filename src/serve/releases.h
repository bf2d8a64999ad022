// The bundles in service: the primary, and where wanted a canary, which answers a share of the
// users, and a shadow, which scores a copy of a share of the requests and answers nobody.
//
// Invariants:
//  1. A lineup never changes. Who took one keeps its bundles to the end, whatever is swapped.
//  2. A user has the same release for as long as the share stays; a larger share keeps the users
//     of a smaller one.
//  3. Each release is swapped for itself.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "core/config.h"
#include "serve/deployment.h"
#include "serve/request_window.h"

namespace llmcf::serve {

enum class Role : uint8_t { kPrimary, kCanary, kShadow };
inline constexpr std::array<Role, 3> kRoles = {Role::kPrimary, Role::kCanary, Role::kShadow};
std::string_view role_name(Role role);

// A bundle under a role, with what is counted of it.
struct Release {
  // Throws InputError naming the file and what is wrong with it. `window`: requests.
  Release(Role as, const std::filesystem::path& file, size_t window,
          const ItemListOptions& list = {});

  const Role role;
  Deployment deployment;
  RequestWindow window;
  const int64_t median_example;  // Unix seconds; 0 = no examples
};

struct Lineup {
  struct Place {
    std::shared_ptr<Release> release;  // null: nobody; the primary's never is
    std::filesystem::path file;
    double share = 1;  // of the keys
  };
  std::array<Place, 3> places;

  const Place& of(Role role) const { return places[static_cast<size_t>(role)]; }
  // Who answers: the canary for its share of the keys. Without a key (empty) the primary.
  const std::shared_ptr<Release>& answering(const std::string& key) const;
  // The shadow if it has this key, else null.
  std::shared_ptr<Release> shadowing(const std::string& key) const;
};

class Releases {
 public:
  std::shared_ptr<const Lineup> lineup() const;
  void put(Role role, Lineup::Place place);

 private:
  mutable std::mutex guard_;
  std::shared_ptr<const Lineup> lineup_ = std::make_shared<const Lineup>();
};

// canary: {bundle: next.bundle, share: 0.05}   # files are relative to the configuration's
// shadow: {bundle: next.bundle, share: 1.0}
struct SecondBundle {
  std::filesystem::path file;
  double share = 1;

  // Empty without the section. Throws InputError with file and line.
  static std::optional<SecondBundle> from(const Config& config, Role role);
};
// What `share` is if nobody says.
double default_share(Role role);

}  // namespace llmcf::serve
