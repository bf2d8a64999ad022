// A workspace: the directory in which one configuration's artefacts live.
//
//   data/dataset.safetensors, data/rows.safetensors      import, split
//   text/encoder/, text/items.safetensors                encode
//   cot/pool.sqlite, cot/examples.safetensors            reason, pool
//   cot/knowledge.safetensors, cot/teacher.safetensors   knowledge, teach
//   retrieval/{train,valid,test}.safetensors             retrieve
//   runs/<variant>/seed-<n>/                             train
//   report.html, results.{json,md,csv}                   report
//   analysis/<split>/analysis.{html,json,md}             llmcf analyse
//   annotations.jsonl                                    llmcf annotate (annotations.h)
//   state/<stage>.json                                   what each stage was made from
//   erased.txt                                           digests of erased users' names
//
// Invariants:
//  1. One process at a time, or several that share it and train different runs: opening takes an
//     advisory lock that ends with the process, however it ends.
//  2. Only AtomicFile and SQLite write here: every artefact is whole or absent. The one exception
//     is annotations.jsonl, whose lines are.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>

namespace llmcf::pipeline {

// Who else may be in a workspace.
enum class Access {
  kAlone,   // nobody
  kShared,  // others that share it: each writes only the run that it trains
};

// Where a workspace at `root` keeps a training run: known without opening it.
std::filesystem::path run_directory(const std::filesystem::path& root, const std::string& variant,
                                    int64_t seed);

class Workspace {
 public:
  // Creates the directory if needed. Throws Error if another process holds it or it cannot be
  // written.
  explicit Workspace(std::filesystem::path root, Access access = Access::kAlone);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path dataset() const { return root_ / "data" / "dataset.safetensors"; }
  std::filesystem::path rows() const { return root_ / "data" / "rows.safetensors"; }
  std::filesystem::path encoder() const { return root_ / "text" / "encoder"; }
  std::filesystem::path item_text() const { return root_ / "text" / "items.safetensors"; }
  std::filesystem::path pool() const { return root_ / "cot" / "pool.sqlite"; }
  std::filesystem::path examples() const { return root_ / "cot" / "examples.safetensors"; }
  std::filesystem::path knowledge() const { return root_ / "cot" / "knowledge.safetensors"; }
  std::filesystem::path teacher() const { return root_ / "cot" / "teacher.safetensors"; }
  std::filesystem::path retrieval(std::string_view split) const;
  std::filesystem::path run(const std::string& variant, int64_t seed) const {
    return run_directory(root_, variant, seed);
  }
  std::filesystem::path state(const std::string& stage) const {
    return root_ / "state" / (stage + ".json");
  }
  std::filesystem::path analysis(std::string_view split) const;
  std::filesystem::path annotations() const { return root_ / "annotations.jsonl"; }
  std::filesystem::path report() const { return root_ / "report.html"; }
  std::filesystem::path results(const std::string& extension) const {
    return root_ / ("results." + extension);
  }

  // Users that were erased and must not come back with the next import; names are kept as digests
  // only.
  bool is_erased(std::string_view user) const { return erased_.contains(digest_of(user)); }
  bool has_erased() const { return !erased_.empty(); }
  // Changes with the set of erased users.
  std::string erased_digest() const;
  // Records the user, then removes every derived artefact that may hold a trace of them (pool and
  // annotations are the caller's).
  void erase(std::string_view user);

 private:
  static std::string digest_of(std::string_view user);

  std::filesystem::path root_;
  std::set<std::string> erased_;
  int lock_ = -1;
};

}  // namespace llmcf::pipeline
