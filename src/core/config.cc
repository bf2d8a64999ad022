// Strict YAML over yaml-cpp: what was read is remembered in shared nodes, so that finish() finds
// the rest.
#include "core/config.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include "core/error.h"
#include "core/files.h"
#include "core/strings.h"

namespace llmcf {

struct Config::Node {
  YAML::Node yaml;  // a map, or undefined where the section is absent
  std::string file;
  std::string path;  // dotted, empty at the top
  std::set<std::string> known;
  std::map<std::string, std::shared_ptr<Node>>
      sections;  // so that section("x") twice shares what was read

  std::string full(const std::string& key) const { return path.empty() ? key : path + "." + key; }
  bool is_map() const { return yaml.IsDefined() && yaml.IsMap(); }
  YAML::Node child(const std::string& key) {
    known.insert(key);
    if (!is_map()) return YAML::Node(YAML::NodeType::Undefined);
    return std::as_const(yaml)[key];
  }
};

namespace {

int64_t line_of(const YAML::Node& node) {
  return node.IsDefined() ? node.Mark().line + 1 : 0;
}

template <typename T>
constexpr const char* type_name() {
  if constexpr (std::is_same_v<T, bool>)
    return "true or false";
  else if constexpr (std::is_same_v<T, int64_t>)
    return "an integer";
  else if constexpr (std::is_same_v<T, double>)
    return "a number";
  else if constexpr (std::is_same_v<T, std::string>)
    return "a text";
  else
    return "a list of values";
}

// Replaces ${NAME} and ${NAME:-default}.
std::string expand(const std::string& text, const YAML::Node& value, const std::string& file,
                   const std::string& path) {
  std::string expanded;
  size_t begin = 0;
  for (size_t open = text.find("${"); open != std::string::npos; open = text.find("${", begin)) {
    const size_t close = text.find('}', open);
    if (close == std::string::npos) break;
    const std::string inside = text.substr(open + 2, close - open - 2);
    const size_t dash = inside.find(":-");
    const std::string name = inside.substr(0, dash);
    const char* found = std::getenv(name.c_str());
    if (found == nullptr && dash == std::string::npos) {
      throw InputError(
          file, line_of(value),
          fmt::format("{}: environment variable {} is not set; set it or write ${{{}:-default}}",
                      path, name, name));
    }
    expanded += text.substr(begin, open - begin);
    expanded += found != nullptr && *found != '\0' ? std::string(found)
                : dash == std::string::npos        ? std::string()
                                                   : inside.substr(dash + 2);
    begin = close + 1;
  }
  return expanded + text.substr(begin);
}

template <typename T>
T convert(const YAML::Node& value, const std::string& file, const std::string& path) {
  try {
    if constexpr (std::is_same_v<T, std::string>) {
      return expand(value.as<std::string>(), value, file, path);
    } else {
      return value.as<T>();
    }
  } catch (const YAML::Exception&) {
    const std::string shown = value.IsScalar() ? value.Scalar() : YAML::Dump(value);
    throw InputError(file, line_of(value),
                     fmt::format("{}: expected {}, found '{}'", path, type_name<T>(), shown));
  }
}

YAML::Node merge(const YAML::Node& base, const YAML::Node& over) {
  if (!over.IsDefined() || over.IsNull()) return base;
  if (!base.IsDefined() || !base.IsMap() || !over.IsMap()) return over;
  YAML::Node merged(YAML::NodeType::Map);
  for (const auto& entry : base) {
    const YAML::Node replacement = over[entry.first.Scalar()];
    merged[entry.first] = merge(entry.second, replacement);
  }
  for (const auto& entry : over) {
    if (!base[entry.first.Scalar()].IsDefined()) merged[entry.first] = entry.second;
  }
  return merged;
}

// `map` with the value at `path`. Maps on the way are new: a tree that shares them with this one
// does not change. Throws Error where the path goes through what is no map.
YAML::Node with_value(const YAML::Node& map, std::span<const std::string_view> path,
                      const YAML::Node& value) {
  if (path.empty()) return value;
  const std::string key(path.front());
  if (map.IsDefined() && !map.IsMap() && !map.IsNull())
    throw Error(fmt::format("'{}' stands below a value, not a section", key));
  YAML::Node result(YAML::NodeType::Map);
  YAML::Node inner(YAML::NodeType::Undefined);
  if (map.IsDefined() && map.IsMap()) {
    for (const auto& entry : map) {
      if (entry.first.Scalar() == key) inner.reset(entry.second);
      result[entry.first] = entry.second;
    }
  }
  result[key] = with_value(inner, path.subspan(1), value);
  return result;
}

// What the environment makes of a text; the text itself where a variable is not set.
std::string expanded_or_raw(const std::string& text) {
  try {
    return expand(text, YAML::Node(), "", "");
  } catch (const InputError&) {
    return text;
  }
}

// `path` is the dotted path of the node below the section, "" at its top.
void write_canonical(const YAML::Node& node, const std::string& path,
                     const std::set<std::string>& left_out, std::string& out) {
  if (node.IsMap()) {
    std::map<std::string, YAML::Node> sorted;
    for (const auto& entry : node)
      sorted.emplace(entry.first.Scalar(), entry.second);
    out += '{';
    for (const auto& [key, value] : sorted) {
      const std::string below = path.empty() ? key : path + "." + key;
      if (left_out.contains(below)) continue;
      out += key + ':';
      write_canonical(value, below, left_out, out);
      out += ',';
    }
    out += '}';
  } else if (node.IsSequence()) {
    out += '[';
    for (const auto& value : node) {
      write_canonical(value, path, left_out, out);
      out += ',';
    }
    out += ']';
  } else if (node.IsScalar()) {
    const std::string text = expanded_or_raw(node.Scalar());
    out += fmt::format("{}\"{}\"", text.size(), text);
  } else {
    out += '~';
  }
}

// yaml-cpp keeps the first of two equal keys and drops the other without a word.
void refuse_duplicate_keys(const YAML::Node& node, const std::string& file) {
  if (node.IsSequence()) {
    for (const auto& value : node)
      refuse_duplicate_keys(value, file);
  }
  if (!node.IsMap()) return;
  std::map<std::string, int64_t> lines;
  for (const auto& entry : node) {
    const auto [first, added] = lines.emplace(entry.first.Scalar(), line_of(entry.first));
    if (!added) {
      throw InputError(
          file, line_of(entry.first),
          fmt::format("key '{}' appears twice (first on line {})", first->first, first->second));
    }
    refuse_duplicate_keys(entry.second, file);
  }
}

YAML::Node parse_yaml(std::string_view text, const std::string& name) {
  try {
    YAML::Node top = YAML::Load(std::string(text));
    if (top.IsNull()) top = YAML::Node(YAML::NodeType::Map);
    if (!top.IsMap()) throw InputError(name, 1, "expected a map of keys at the top");
    refuse_duplicate_keys(top, name);
    return top;
  } catch (const YAML::Exception& error) {
    throw InputError(name, error.mark.line + 1, fmt::format("not valid YAML: {}", error.msg));
  }
}

}  // namespace

Config::Config(std::shared_ptr<Node> node) : node_(std::move(node)) {}
Config::Config(const Config&) = default;
Config& Config::operator=(const Config&) = default;
Config::Config(Config&&) noexcept = default;
Config& Config::operator=(Config&&) noexcept = default;
Config::~Config() = default;

Config Config::load(const std::filesystem::path& path) {
  return parse(read_file(path), path.string());
}

Config Config::parse(std::string_view text, const std::string& name) {
  auto node = std::make_shared<Node>();
  node->yaml.reset(parse_yaml(text, name));
  node->file = name;
  return Config(std::move(node));
}

bool Config::has(const std::string& key) const {
  return node_->child(key).IsDefined();
}

template <typename T>
T Config::get(const std::string& key, const T& fallback) const {
  const YAML::Node value = node_->child(key);
  if (!value.IsDefined() || value.IsNull()) return fallback;
  return convert<T>(value, node_->file, node_->full(key));
}

template <typename T>
T Config::require(const std::string& key) const {
  const YAML::Node value = node_->child(key);
  if (!value.IsDefined() || value.IsNull()) {
    throw InputError(node_->file, line_of(node_->yaml),
                     fmt::format("'{}' is missing; it takes {}", node_->full(key), type_name<T>()));
  }
  return convert<T>(value, node_->file, node_->full(key));
}

template bool Config::get(const std::string&, const bool&) const;
template int64_t Config::get(const std::string&, const int64_t&) const;
template double Config::get(const std::string&, const double&) const;
template std::string Config::get(const std::string&, const std::string&) const;
template std::vector<std::string> Config::get(const std::string&,
                                              const std::vector<std::string>&) const;
template std::vector<int64_t> Config::get(const std::string&, const std::vector<int64_t>&) const;
template std::vector<double> Config::get(const std::string&, const std::vector<double>&) const;
template bool Config::require(const std::string&) const;
template int64_t Config::require(const std::string&) const;
template double Config::require(const std::string&) const;
template std::string Config::require(const std::string&) const;
template std::vector<std::string> Config::require(const std::string&) const;
template std::vector<int64_t> Config::require(const std::string&) const;
template std::vector<double> Config::require(const std::string&) const;

std::string Config::get_choice(const std::string& key, const std::string& fallback,
                               const std::vector<std::string>& allowed) const {
  std::string value = get<std::string>(key, fallback);
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end())
    fail(key, unknown_name("value", value, allowed));
  return value;
}

int64_t Config::get_int(const std::string& key, int64_t fallback, int64_t low, int64_t high) const {
  const int64_t value = get<int64_t>(key, fallback);
  if (value < low || value > high)
    fail(key, fmt::format("{} is outside [{}, {}]", value, low, high));
  return value;
}

double Config::get_number(const std::string& key, double fallback, double low, double high) const {
  const double value = get<double>(key, fallback);
  if (!(value >= low && value <= high))
    fail(key, fmt::format("{} is outside [{}, {}]", value, low, high));
  return value;
}

Config Config::section(const std::string& key) const {
  const auto found = node_->sections.find(key);
  if (found != node_->sections.end()) return Config(found->second);
  auto node = std::make_shared<Node>();
  const YAML::Node value = node_->child(key);
  if (value.IsDefined() && !value.IsNull() && !value.IsMap()) fail(key, "expected a map of keys");
  if (value.IsDefined() && value.IsMap()) node->yaml.reset(value);
  node->file = node_->file;
  node->path = node_->full(key);
  node_->sections.emplace(key, node);
  return Config(std::move(node));
}

std::vector<Config> Config::list(const std::string& key) const {
  const YAML::Node value = node_->child(key);
  std::vector<Config> entries;
  if (!value.IsDefined() || value.IsNull()) return entries;
  if (!value.IsSequence()) fail(key, "expected a list");
  for (size_t index = 0; index < value.size(); ++index) {
    if (!value[index].IsMap()) fail(key, fmt::format("entry {} is not a map of keys", index + 1));
    auto node = std::make_shared<Node>();
    node->yaml.reset(value[index]);
    node->file = node_->file;
    node->path = fmt::format("{}[{}]", node_->full(key), index);
    entries.push_back(Config(std::move(node)));
  }
  return entries;
}

std::vector<std::string> Config::keys() const {
  std::vector<std::string> names;
  if (!node_->is_map()) return names;
  for (const auto& entry : node_->yaml)
    names.push_back(entry.first.Scalar());
  return names;
}

void Config::finish() const {
  if (!node_->is_map()) return;
  for (const auto& entry : node_->yaml) {
    const std::string key = entry.first.Scalar();
    if (node_->known.contains(key)) continue;
    const std::vector<std::string> known(node_->known.begin(), node_->known.end());
    throw InputError(
        node_->file, line_of(entry.first),
        unknown_name(node_->path.empty() ? "key" : fmt::format("key in '{}':", node_->path), key,
                     known));
  }
}

void Config::fail(const std::string& key, const std::string& reason) const {
  const YAML::Node value = node_->child(key);
  const int64_t line = value.IsDefined() ? line_of(value) : line_of(node_->yaml);
  throw InputError(node_->file, line, fmt::format("{}: {}", node_->full(key), reason));
}

void Config::set(const std::string& path, const std::string& yaml_value) {
  try {
    node_->yaml.reset(with_value(node_->yaml, split(path, '.'), YAML::Load(yaml_value)));
  } catch (const YAML::Exception& error) {
    throw Error(fmt::format("--set {}={}: {}", path, yaml_value, error.msg));
  } catch (const Error& error) {
    throw Error(fmt::format("--set {}={}: {}", path, yaml_value, error.what()));
  }
}

Config Config::overlay(const Config& base, const Config& over) {
  auto node = std::make_shared<Node>();
  node->yaml.reset(merge(base.node_->yaml, over.node_->yaml));
  node->file = base.node_->is_map() ? base.node_->file : over.node_->file;
  node->path = base.node_->is_map() ? base.node_->path : over.node_->path;
  return Config(std::move(node));
}

std::string Config::canonical(const std::set<std::string>& left_out) const {
  std::string text;
  if (node_->is_map()) write_canonical(node_->yaml, "", left_out, text);
  return text;
}

std::string Config::yaml() const {
  return node_->is_map() ? YAML::Dump(node_->yaml) + "\n" : "";
}

const std::string& Config::file() const {
  return node_->file;
}

std::filesystem::path Config::directory() const {
  const std::filesystem::path path(node_->file);
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace llmcf
