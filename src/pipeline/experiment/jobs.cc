#include "pipeline/experiment/jobs.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <map>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/strings.h"

namespace llmcf::pipeline::experiment {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kCannotStart = 127;

struct Child {
  size_t job = 0;
  Clock::time_point start;
};

// The last lines of a log, for an error message.
std::string tail_of(const std::filesystem::path& log) {
  constexpr size_t kShown = 400;
  std::error_code missing;
  if (!std::filesystem::exists(log, missing)) return "no log";
  const std::string text = read_file(log);
  const std::string_view shown = trim(text);
  return std::string(shown.size() > kShown ? shown.substr(shown.size() - kShown) : shown);
}

// Between fork and exec: only what is safe there.
[[noreturn]] void become(const std::vector<char*>& arguments, int log, rlim_t memory,
                         pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kCannotStart);  // it died before the line above
  const rlimit limit{memory, memory};
  ::setrlimit(RLIMIT_DATA, &limit);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execv(arguments[0], arguments.data());
  ::_exit(kCannotStart);
}

pid_t start(const Job& job, int64_t memory_mib) {
  static const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  std::filesystem::create_directories(job.log.parent_path());
  const int log = ::open(job.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (log < 0) throw Error(fmt::format("{}: {}", job.log.string(), std::strerror(errno)));
  std::vector<char*> arguments = {const_cast<char*>(program.c_str())};  // NOLINT: execv's type
  for (const std::string& argument : job.arguments)
    arguments.push_back(const_cast<char*>(argument.c_str()));  // NOLINT
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) become(arguments, log, static_cast<rlim_t>(memory_mib) << 20, parent);
  ::close(log);
  if (child < 0) throw Error(fmt::format("cannot start a process: {}", std::strerror(errno)));
  return child;
}

JobOutcome outcome_of(const Job& job, int status, const rusage& usage, int64_t memory_mib) {
  JobOutcome outcome;
  outcome.peak_mib = static_cast<double>(usage.ru_maxrss) / 1024.0;
  outcome.succeeded = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (outcome.succeeded) return outcome;
  const std::string tail = tail_of(job.log);
  const bool no_memory = tail.find("bad_alloc") != std::string::npos ||
                         tail.find("not enough memory") != std::string::npos;
  if (no_memory)
    outcome.reason = fmt::format("it needs more than jobs.memory_mib = {}: raise it", memory_mib);
  else if (WIFSIGNALED(status))
    outcome.reason = fmt::format("killed by signal {}: {}", WTERMSIG(status), tail);
  else
    outcome.reason = tail;
  outcome.reason += fmt::format(" (log: {})", job.log.string());
  return outcome;
}

int64_t available_mib() {
  const std::string info = read_file("/proc/meminfo");
  for (const std::string_view line : split(info, '\n')) {
    if (!line.starts_with("MemAvailable:")) continue;
    std::string digits;
    for (const char c : line)
      if (c >= '0' && c <= '9') digits += c;
    return parse_int(digits).value_or(0) / 1024;
  }
  return 0;
}

}  // namespace

int64_t processes_for(int64_t wanted, int64_t threads, int64_t memory_mib) {
  if (wanted > 0) return wanted;
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  const int64_t by_cores = std::max<int64_t>(1, cores / std::max<int64_t>(1, threads));
  const int64_t by_memory = std::max<int64_t>(1, available_mib() / memory_mib);
  return std::min(by_cores, by_memory);
}

void run_jobs(const std::vector<Job>& jobs, const JobLimits& limits,
              const std::function<void(size_t)>& started,
              const std::function<void(size_t, const JobOutcome&)>& done) {
  std::map<pid_t, Child> running;
  size_t next = 0;
  while (true) {
    while (next < jobs.size() && static_cast<int64_t>(running.size()) < limits.processes &&
           limits.may_start()) {
      running[start(jobs[next], limits.memory_mib)] = {next, Clock::now()};
      started(next++);
    }
    if (running.empty()) return;
    int status = 0;
    rusage usage{};
    const pid_t ended = ::wait4(-1, &status, 0, &usage);
    if (ended < 0 && errno == EINTR) continue;
    if (ended < 0) throw Error(fmt::format("waiting for a process: {}", std::strerror(errno)));
    const auto found = running.find(ended);
    if (found == running.end()) continue;
    const Child child = found->second;
    running.erase(found);
    JobOutcome outcome = outcome_of(jobs[child.job], status, usage, limits.memory_mib);
    outcome.seconds = std::chrono::duration<double>(Clock::now() - child.start).count();
    done(child.job, outcome);
  }
}

}  // namespace llmcf::pipeline::experiment
