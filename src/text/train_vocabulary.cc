#include "text/train_vocabulary.h"

#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/strings.h"

extern char** environ;

namespace llmcf::text {

namespace {

namespace fs = std::filesystem;

// Runs a program of the search path in `directory`, with all it says in the file `log` there; its
// exit status.
int run(std::vector<std::string> arguments, const fs::path& directory) {
  std::vector<char*> argv;
  for (std::string& argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "log", O_WRONLY | O_CREAT | O_TRUNC,
                                   0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  const int failed =
      ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);  // NOLINT
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    throw Error(fmt::format("cannot run {}: {}; install the package `sentencepiece`", arguments[0],
                            std::strerror(failed)));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

void train_vocabulary(std::span<const std::string> texts, int64_t size, const fs::path& model) {
  const TemporaryDirectory directory;
  AtomicFile lines(directory.path() / "lines.txt");
  for (const std::string& text : texts)
    for (const std::string_view line : split(text, '\n'))
      if (!trim(line).empty()) lines.write(fmt::format("{}\n", line));
  lines.commit();
  // The file keeps the names it was made from: relative ones, so that the same texts give the same.
  const int status =
      run({"spm_train", "--input=lines.txt", "--model_prefix=vocabulary",
           fmt::format("--vocab_size={}", size), "--model_type=bpe", "--byte_fallback=true",
           "--split_digits=true", "--character_coverage=1", "--normalization_rule_name=identity",
           "--remove_extra_whitespaces=false", "--allow_whitespace_only_pieces=true",
           "--max_sentence_length=65536", "--num_threads=1"},
          directory.path());
  const fs::path made = directory.path() / "vocabulary.model";
  if (status != 0 || !fs::exists(made)) {
    const std::string said = read_file(directory.path() / "log");
    throw Error(fmt::format("spm_train ended with status {}: {}", status,
                            trim(said.substr(said.size() > 400 ? said.size() - 400 : 0))));
  }
  write_file(model, read_file(made));
}

}  // namespace llmcf::text
