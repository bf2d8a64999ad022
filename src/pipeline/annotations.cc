#include "pipeline/annotations.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "core/strings.h"

namespace llmcf::pipeline {

namespace {

using Json = nlohmann::ordered_json;

Json name_json(const RowName& name) {
  return {
      {"user", name.user}, {"position", name.position}, {"item", name.item}, {"time", name.time}};
}

RowName name_of(const Json& json) {
  return {.user = json.at("user"),
          .position = json.at("position"),
          .item = json.at("item"),
          .time = json.at("time")};
}

std::string line_of(const Annotation& annotation) {
  const Json json = {{"annotator", annotation.annotator},
                     {"split", annotation.split},
                     {"query", name_json(annotation.query)},
                     {"example", name_json(annotation.example)},
                     {"similarity", annotation.similarity},
                     {"grade", annotation.grade ? Json(*annotation.grade) : Json(nullptr)},
                     {"time", annotation.time}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Annotation parse(std::string_view line) {
  const Json json = Json::parse(line);
  Annotation annotation{.annotator = json.at("annotator"),
                        .split = json.at("split"),
                        .query = name_of(json.at("query")),
                        .example = name_of(json.at("example")),
                        .similarity = json.at("similarity"),
                        .grade = {},
                        .time = json.at("time")};
  if (!json.at("grade").is_null()) annotation.grade = json.at("grade").get<int64_t>();
  return annotation;
}

// The file's whole lines: what follows the last line end is torn.
std::string whole_lines(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return {};
  std::string text = read_file(path);
  text.resize(text.rfind('\n') + 1);  // npos + 1 = 0
  return text;
}

class Appender {
 public:
  explicit Appender(const std::filesystem::path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)) {
    if (descriptor_ < 0) fail("cannot be opened");
  }
  ~Appender() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Appender(const Appender&) = delete;
  Appender& operator=(const Appender&) = delete;

  void write_at(uint64_t offset, const std::string& text) {
    if (::ftruncate(descriptor_, static_cast<off_t>(offset)) != 0) fail("cannot be written");
    for (size_t done = 0; done < text.size();) {
      const ssize_t written = ::pwrite(descriptor_, text.data() + done, text.size() - done,
                                       static_cast<off_t>(offset + done));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail("cannot be written");
      done += static_cast<size_t>(written);
    }
    if (::fsync(descriptor_) != 0) fail("cannot be written");
  }

 private:
  [[noreturn]] void fail(const char* what) const {
    throw Error(fmt::format("{} {}: {}", path_.string(), what, std::strerror(errno)));
  }

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace

std::vector<Annotation> read_annotations(const std::filesystem::path& path) {
  const std::string text = whole_lines(path);
  std::vector<Annotation> annotations;
  int64_t number = 0;
  for (const std::string_view line : split(text, '\n')) {
    ++number;
    if (line.empty()) continue;
    try {
      annotations.push_back(parse(line));
    } catch (const nlohmann::json::exception& error) {
      throw InputError(path.string(), number,
                       fmt::format("not a judgement ({}); remove the line", error.what()));
    }
  }
  return annotations;
}

void append_annotation(const std::filesystem::path& path, const Annotation& annotation) {
  Appender(path).write_at(whole_lines(path).size(), line_of(annotation));
}

int64_t erase_annotations(const Workspace& workspace) {
  const std::filesystem::path path = workspace.annotations();
  if (!workspace.has_erased() || !std::filesystem::exists(path)) return 0;
  const std::string text = whole_lines(path);
  std::string kept;
  int64_t removed = 0, number = 0;
  for (const std::string_view line : split(text, '\n')) {
    ++number;
    if (line.empty()) continue;
    try {
      const Annotation annotation = parse(line);
      if (workspace.is_erased(annotation.query.user) ||
          workspace.is_erased(annotation.example.user))
        ++removed;
      else
        kept += line_of(annotation);
    } catch (const nlohmann::json::exception&) {  // its message quotes the line
      ++removed;
      log::warn("{}:{}: not a judgement; removed, for it may name an erased user", path.string(),
                number);
    }
  }
  // A torn line may hold a part of a name.
  if (kept.size() != std::filesystem::file_size(path)) write_file(path, kept);
  return removed;
}

}  // namespace llmcf::pipeline
