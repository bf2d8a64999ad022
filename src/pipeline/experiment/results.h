// Finished runs, one JSON line each: committed beside the code, so that a table grows over time and
// nothing is trained twice.
//
// Invariants:
//  1. The file is replaced atomically; lines that were there stay as they are.
//  2. A line is complete: key, where it stands, its configuration, what was measured, on what.
//  3. Two processes do not write one file: it is locked while a store is open.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/experiment/plan.h"
#include "pipeline/measures.h"
#include "train/trainer.h"

namespace llmcf::pipeline::experiment {

struct Result {
  std::string key;
  std::string experiment;
  Coordinates at;
  // Test split, best epoch's weights. Absent for trials of a search, which never see it.
  std::optional<double> auc = {}, log_loss = {}, group_auc = {}, auc_low = {}, auc_high = {};
  train::Figures figures = {};  // next item: what clicks have above, by Measures::names and more
  double valid = 0;             // what chose the epoch: AUC, or NDCG@10
  std::optional<double> valid_log_loss = {};
  int64_t best_epoch = 0, epochs = 0;
  double train_rows_per_second = 0;  // median over epochs, with `processes` running
  double seconds = 0;                // of the process
  double peak_mib = 0;
  int64_t threads = 1;
  std::string protocol = {};
  std::string config = {};    // canonical model and train sections
  std::string dataset = {};   // digest of the imported data set
  std::string version = {};   // of the program
  std::string machine = {};   // processor
  std::string finished = {};  // "2026-11-25"
};

class ResultStore {
 public:
  // Reads the file if there is one. Throws InputError naming file and line that is not a result,
  // and, unless it is opened to read only, Error if another process has it open for writing.
  explicit ResultStore(std::filesystem::path path, bool read_only = false);
  ~ResultStore();
  ResultStore(const ResultStore&) = delete;
  ResultStore& operator=(const ResultStore&) = delete;

  const Result* find(const std::string& key) const;
  // Adds and saves. A result whose key is there already replaces it. REQUIRES: not read-only.
  void add(const Result& result);
  const std::vector<Result>& all() const { return results_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  void lock();
  void read();
  void save() const;

  std::filesystem::path path_;
  std::vector<Result> results_;
  std::map<std::string, size_t> place_;  // by key
  int lock_ = -1;
};

// By Measures::names; NaN where there is none.
std::vector<double> figures_of(Task task, const Result& result);

std::string result_line(const Result& result);
// `file` and `line` are for the error. Throws InputError.
Result parse_result(const std::string& text, const std::string& file, int64_t line);

// What a finished run left in its directory, as a result without its cell. Throws Error if the run
// did not finish.
Result read_run(const std::filesystem::path& directory);

}  // namespace llmcf::pipeline::experiment
