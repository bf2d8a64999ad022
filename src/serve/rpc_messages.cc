#include "serve/rpc_messages.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/util/json_util.h>

#include "core/error.h"
#include "llmcf/v1/llmcf.pb.h"
#include "net/http_server.h"

namespace llmcf::serve {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Json = nlohmann::ordered_json;

constexpr const char* kDetails = "details";

Json json_of(const Message& message, const std::string& path);

// One value of a field: entry `index` of a repeated one, or the only one where it is negative.
Json value_of(const Message& message, const FieldDescriptor& field, int index,
              const std::string& path) {
  const auto& fields = *message.GetReflection();
  const auto get = [&](auto single, auto repeated) {
    return index < 0 ? (fields.*single)(message, &field)
                     : (fields.*repeated)(message, &field, index);
  };
  using Fields = google::protobuf::Reflection;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return get(&Fields::GetString, &Fields::GetRepeatedString);
    case FieldDescriptor::CPPTYPE_BOOL:
      return get(&Fields::GetBool, &Fields::GetRepeatedBool);
    case FieldDescriptor::CPPTYPE_INT64:
      return get(&Fields::GetInt64, &Fields::GetRepeatedInt64);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return get(&Fields::GetDouble, &Fields::GetRepeatedDouble);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return json_of(index < 0 ? fields.GetMessage(message, &field)
                               : fields.GetRepeatedMessage(message, &field, index),
                     path);
    default:
      throw Error(fmt::format("the messages have a type that has no JSON: {}", field.full_name()));
  }
}

Json map_of(const Message& message, const FieldDescriptor& field, const std::string& path) {
  Json map = Json::object();
  for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, &field, i);
    const auto& type = *field.message_type();
    const std::string key = entry.GetReflection()->GetString(entry, type.map_key());
    map[key] = value_of(entry, *type.map_value(), -1, path + "." + key);
  }
  return map;
}

Json list_of(const Message& message, const FieldDescriptor& field, const std::string& path) {
  Json list = Json::array();
  for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i)
    list.push_back(value_of(message, field, i, fmt::format("{}[{}]", path, i)));
  return list;
}

void check_known(const Message& message, const std::string& path) {
  const auto& unknown = message.GetReflection()->GetUnknownFields(message);
  if (unknown.empty()) return;
  throw net::HttpError(
      400,
      fmt::format("'{}' has a field of number {}, which this version of llmcf.v1 does not have",
                  path.empty() ? message.GetDescriptor()->name() : path, unknown.field(0).number()),
      path);
}

Json json_of(const Message& message, const std::string& path) {
  check_known(message, path);
  const auto& type = *message.GetDescriptor();
  const auto& fields = *message.GetReflection();
  if (&type == v1::Names::descriptor()) return list_of(message, *type.field(0), path);
  if (&type == v1::Value::descriptor()) {
    const auto* kind = fields.GetOneofFieldDescriptor(message, type.oneof_decl(0));
    return kind == nullptr ? Json() : value_of(message, *kind, -1, path);
  }
  Json json = Json::object();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string below = path.empty() ? field.name() : path + "." + field.name();
    if (field.is_repeated() ? fields.FieldSize(message, &field) == 0
                            : !fields.HasField(message, &field))
      continue;
    json[field.name()] = field.is_map()        ? map_of(message, field, below)
                         : field.is_repeated() ? list_of(message, field, below)
                                               : value_of(message, field, -1, below);
  }
  return json;
}

// Sets a field, or adds an entry to a repeated one.
void put(const Json& value, const FieldDescriptor& field, Message& message) {
  const auto& fields = *message.GetReflection();
  const auto set = [&](auto single, auto repeated, auto typed) {
    field.is_repeated() ? (fields.*repeated)(&message, &field, std::move(typed))
                        : (fields.*single)(&message, &field, std::move(typed));
  };
  using Fields = google::protobuf::Reflection;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return set(&Fields::SetString, &Fields::AddString, value.get<std::string>());
    case FieldDescriptor::CPPTYPE_BOOL:
      return set(&Fields::SetBool, &Fields::AddBool, value.get<bool>());
    case FieldDescriptor::CPPTYPE_INT64:
      return set(&Fields::SetInt64, &Fields::AddInt64, value.get<int64_t>());
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return set(&Fields::SetDouble, &Fields::AddDouble, value.get<double>());
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return fill(value, field.is_repeated() ? *fields.AddMessage(&message, &field)
                                             : *fields.MutableMessage(&message, &field));
    default:
      throw Error(fmt::format("the messages have a type that has no JSON: {}", field.full_name()));
  }
}

void put_details(const Json& details, Message& message) {
  const auto* field = message.GetDescriptor()->FindFieldByName(kDetails);
  if (field == nullptr)
    throw Error(fmt::format("{} has no field for '{}'", message.GetDescriptor()->full_name(),
                            details.begin().key()));
  auto* all = message.GetReflection()->MutableMessage(&message, field);
  const auto done = google::protobuf::util::JsonStringToMessage(
      details.dump(-1, ' ', false, Json::error_handler_t::replace), all);
  if (!done.ok()) throw Error(fmt::format("{}: {}", field->full_name(), done.ToString()));
}

}  // namespace

Json json_of(const Message& request) {
  return json_of(request, "");
}

void fill(const Json& answer, Message& message) {
  Json details = Json::object();
  for (const auto& [key, value] : answer.items()) {
    const auto* field = message.GetDescriptor()->FindFieldByName(key);
    if (value.is_null()) continue;
    if (field == nullptr) {
      details[key] = value;
    } else if (field->is_map()) {
      for (const auto& [name, entry] : value.items())
        fill({{"key", name}, {"value", entry}},
             *message.GetReflection()->AddMessage(&message, field));
    } else if (field->is_repeated()) {
      for (const Json& entry : value)
        put(entry, *field, message);
    } else {
      put(value, *field, message);
    }
  }
  if (!details.empty()) put_details(details, message);
}

}  // namespace llmcf::serve
