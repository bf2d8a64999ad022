// What a service counts and times, as Prometheus reads it.
//
// Thread safety: all methods may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace prometheus {
class Registry;
}

namespace llmcf::serve {

class Metrics {
 public:
  Metrics();
  ~Metrics();

  void request(std::string_view endpoint, int status, double seconds);
  // `stage` is a short word: retrieve, score, histories, ...
  void stage(std::string_view stage, double seconds);
  void fallback(std::string_view reason, int64_t count = 1);
  // Users, candidates or items of histories that nothing is known of.
  void unknown(std::string_view what, int64_t count);
  void candidates(int64_t count);
  void events(int64_t count);
  void reload(bool worked);
  // Similarity of the best example of a request's first candidate.
  void similarity(double value);
  void bundle(const std::string& version, int64_t examples, int64_t items, int64_t newest_example);
  void server(int64_t connections, int64_t waiting, int64_t running, int64_t overloaded,
              int64_t late);

  // For series that have a file of their own.
  prometheus::Registry& registry();
  // A gauge of what is in service.
  void state(const char* name, double value);

  // The text format of Prometheus.
  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace llmcf::serve
