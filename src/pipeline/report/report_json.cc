// One list of fields per struct, visited by a writer and by a reader that knows its path.
#include "pipeline/report/report_json.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace llmcf::pipeline {

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kFormat = 1;  // raised when an old file cannot be read any more

// The one list of fields, for both directions: `field(key, member)`.
template <typename Field>
void visit(Field& field, KeyValue& v) {
  field("key", v.key);
  field("value", v.value);
}

template <typename Field>
void visit(Field& field, MetricInfo& v) {
  field("name", v.name);
  field("meaning", v.meaning);
  field("higher_is_better", v.higher_is_better);
  field("percent", v.percent);
  field("decimals", v.decimals);
}

template <typename Field>
void visit(Field& field, Interval& v) {
  field("low", v.low);
  field("high", v.high);
}

template <typename Field>
void visit(Field& field, MetricResult& v) {
  field("per_seed", v.per_seed);
  field("interval", v.interval);
  field("p_value", v.p_value);
}

template <typename Field>
void visit(Field& field, VariantResult& v) {
  field("name", v.name);
  field("description", v.description);
  field("metrics", v.metrics);
}

template <typename Field>
void visit(Field& field, CurvePoint& v) {
  field("epoch", v.epoch);
  field("train_loss", v.train_loss);
  field("valid", v.valid);
}

template <typename Field>
void visit(Field& field, Curve& v) {
  field("variant", v.variant);
  field("seed", v.seed);
  field("best_epoch", v.best_epoch);
  field("points", v.points);
}

template <typename Field>
void visit(Field& field, SliceSeries& v) {
  field("variant", v.variant);
  field("values", v.values);
}

template <typename Field>
void visit(Field& field, Slice& v) {
  field("title", v.title);
  field("meaning", v.meaning);
  field("buckets", v.buckets);
  field("rows", v.rows);
  field("series", v.series);
}

template <typename Field>
void visit(Field& field, SimilaritySeries& v) {
  field("label", v.label);
  field("counts", v.counts);
}

template <typename Field>
void visit(Field& field, SplitSimilarity& v) {
  field("split", v.split);
  field("rows", v.rows);
  field("slots", v.slots);
  field("masked_share", v.masked_share);
  field("coverage", v.coverage);
  field("pool_used", v.pool_used);
  field("mean_positive", v.mean_positive);
  field("mean_negative", v.mean_negative);
  field("edges", v.edges);
  field("series", v.series);
}

template <typename Field>
void visit(Field& field, RetrievedExample& v) {
  field("similarity", v.similarity);
  field("label", v.label);
  field("target", v.target);
  field("history", v.history);
  field("cot", v.cot);
}

template <typename Field>
void visit(Field& field, TestRow& v) {
  field("user", v.user);
  field("history", v.history);
  field("target", v.target);
  field("label", v.label);
  field("scores", v.scores);
  field("examples", v.examples);
}

template <typename Field>
void visit(Field& field, StageTime& v) {
  field("name", v.name);
  field("seconds", v.seconds);
  field("peak_memory_mib", v.peak_memory_mib);
  field("skipped", v.skipped);
}

template <typename Field>
void visit(Field& field, ReportData& v) {
  field("title", v.title);
  field("created", v.created);
  field("protocol", v.protocol);
  field("reasoner", v.reasoner);
  field("interval_name", v.interval_name);
  field("test_name", v.test_name);
  field("significance", v.significance);
  field("seeds", v.seeds);
  field("dataset", v.dataset);
  field("configuration", v.configuration);
  field("metrics", v.metrics);
  field("sliced", v.sliced);
  field("score", v.score);
  field("variants", v.variants);
  field("curves", v.curves);
  field("slices", v.slices);
  field("similarity", v.similarity);
  field("rows", v.rows);
  field("stages", v.stages);
  field("environment", v.environment);
}

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};
template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

class Writer {
 public:
  template <typename T>
  void operator()(const char* key, T& value) {
    json[key] = write(value);
  }

  template <typename T>
  static Json write(T& value) {
    if constexpr (std::is_same_v<T, double>) {
      return std::isnan(value) ? Json(nullptr) : Json(value);
    } else if constexpr (IsOptional<T>::value) {
      return value ? write(*value) : Json(nullptr);
    } else if constexpr (IsVector<T>::value) {
      Json list = Json::array();
      for (auto& entry : value)
        list.push_back(write(entry));
      return list;
    } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return value;
    } else {
      Writer writer;
      visit(writer, value);
      return writer.json;
    }
  }

  Json json = Json::object();
};

class Reader {
 public:
  Reader(const Json& json, const std::string& name, std::string path)
      : json_(json), name_(name), path_(std::move(path)) {
    if (!json.is_object()) fail(name, path_, "an object", json);
  }

  template <typename T>
  void operator()(const char* key, T& value) {
    const std::string path = path_.empty() ? key : path_ + "." + key;
    const auto found = json_.find(key);
    if (found == json_.end()) throw InputError(name_, 0, fmt::format("'{}' is missing", path));
    read(*found, path, value);
  }

 private:
  [[noreturn]] static void fail(const std::string& name, const std::string& path,
                                const char* expected, const Json& found) {
    throw InputError(name, 0,
                     fmt::format("{}: expected {}, found {}", path.empty() ? "top" : path, expected,
                                 found.type_name()));
  }

  template <typename T>
  void read(const Json& json, const std::string& path, T& value) const {
    if constexpr (std::is_same_v<T, double>) {
      if (!json.is_number() && !json.is_null()) fail(name_, path, "a number or null", json);
      value = json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!json.is_boolean()) fail(name_, path, "true or false", json);
      value = json.get<bool>();
    } else if constexpr (std::is_integral_v<T>) {
      if (!json.is_number_integer()) fail(name_, path, "an integer", json);
      value = json.get<T>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!json.is_string()) fail(name_, path, "a text", json);
      value = json.get<std::string>();
    } else {
      read_composite(json, path, value);
    }
  }

  template <typename T>
  void read_composite(const Json& json, const std::string& path, T& value) const {
    if constexpr (IsOptional<T>::value) {
      value.reset();
      if (!json.is_null()) read(json, path, value.emplace());
    } else if constexpr (IsVector<T>::value) {
      if (!json.is_array()) fail(name_, path, "a list", json);
      value.assign(json.size(), {});
      for (size_t index = 0; index < json.size(); ++index)
        read(json[index], fmt::format("{}[{}]", path, index), value[index]);
    } else {
      Reader reader(json, name_, path);
      visit(reader, value);
    }
  }

  const Json& json_;
  const std::string& name_;
  std::string path_;
};

Json write_all(const ReportData& data) {
  Json json = {{"format", kFormat}};
  json.update(Writer::write(const_cast<ReportData&>(data)));  // the writer only reads
  return json;
}

ReportData read_all(const Json& json, const std::string& name) {
  int64_t format = 0;
  ReportData data;
  Reader reader(json, name, "");
  reader("format", format);
  if (format != kFormat) {
    throw InputError(
        name, 0,
        fmt::format("format {} is not {}: run the report stage again with this version", format,
                    kFormat));
  }
  visit(reader, data);
  check_report(data);
  return data;
}

}  // namespace

void to_json(nlohmann::json& json, const ReportData& data) {
  json = nlohmann::json(write_all(data));
}

void from_json(const nlohmann::json& json, ReportData& data) {
  data = read_all(Json(json), "results.json");
}

std::string report_json(const ReportData& data) {
  return write_all(data).dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

ReportData parse_report(std::string_view text, const std::string& name) {
  try {
    return read_all(Json::parse(text), name);
  } catch (const Json::exception& error) {
    throw InputError(name, 0, fmt::format("not valid JSON: {}", error.what()));
  }
}

}  // namespace llmcf::pipeline
