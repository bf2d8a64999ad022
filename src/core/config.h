// Strict YAML configuration.
//
// Invariants:
//  1. Every key that is read is remembered; finish() turns a key that nobody read into an error
//  with file, line and
//     the nearest known key. Call it once when a section has been read.
//  2. A value of the wrong type is an error with file, line, key path, the value and the expected
//  type.
//  3. canonical() is the same text for equal content, whatever the order of keys, comments and
//  layout.
//  4. In texts, `${NAME}` and `${NAME:-default}` are replaced from the environment when they are
//  read; a variable that is
//     not set and has no default is an error. canonical() replaces what is set.
//
//   const Config config = Config::load("run.yaml");
//   const Config training = config.section("train");      // an absent section reads as empty: all
//   defaults options.epochs = training.get<int64_t>("epochs", options.epochs); training.finish();
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace llmcf {

class Config {
 public:
  // Throws InputError with file and line if the file is not YAML or its top is not a map.
  static Config load(const std::filesystem::path& path);
  static Config parse(std::string_view text, const std::string& name = "<text>");

  Config(const Config&);
  Config& operator=(const Config&);
  Config(Config&&) noexcept;
  Config& operator=(Config&&) noexcept;
  ~Config();

  bool has(const std::string& key) const;
  // T: bool, int64_t, double, std::string, std::vector<std::string>, std::vector<int64_t>,
  // std::vector<double>.
  template <typename T>
  T get(const std::string& key, const T& fallback) const;
  template <typename T>
  T require(const std::string& key) const;
  // One of `allowed`; anything else is an error that names the nearest.
  std::string get_choice(const std::string& key, const std::string& fallback,
                         const std::vector<std::string>& allowed) const;
  // Throws unless low <= value <= high.
  int64_t get_int(const std::string& key, int64_t fallback, int64_t low, int64_t high) const;
  double get_number(const std::string& key, double fallback, double low, double high) const;

  // The map below `key`; empty if absent.
  Config section(const std::string& key) const;
  // The maps in the list below `key`; empty if absent.
  std::vector<Config> list(const std::string& key) const;
  // Keys in the file's order. Does not count as reading them.
  std::vector<std::string> keys() const;

  // Throws InputError for the first key that was never read.
  void finish() const;
  // An InputError placed at `key` of this section (at the section if the key is absent).
  [[noreturn]] void fail(const std::string& key, const std::string& reason) const;

  // Replaces or adds a value by dotted path, e.g. "train.epochs" = "3" (command line `--set`).
  // Configurations that this one was made from, or that were made from it, stay as they are.
  void set(const std::string& path, const std::string& yaml_value);

  // A copy of `base` in which every key of `over` replaces or extends it, maps key by key. Lines of
  // either side are kept, the file (and so the directory) is that of `base`; what was read so far
  // is not kept.
  static Config overlay(const Config& base, const Config& over);

  // Sorted, comment-free text: what content hashes are made of. `left_out` names keys below this
  // section by dotted path.
  std::string canonical(const std::set<std::string>& left_out = {}) const;
  // YAML for people: the file's keys in its order, without its comments.
  std::string yaml() const;
  const std::string& file() const;
  // The directory of the file: relative paths in it start there.
  std::filesystem::path directory() const;

 private:
  struct Node;
  explicit Config(std::shared_ptr<Node> node);
  std::shared_ptr<Node> node_;
};

}  // namespace llmcf
