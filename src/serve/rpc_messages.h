// The messages of proto/llmcf/v1 and the JSON of the HTTP interface, one into the other, by the
// names of their fields: a field that both have needs no code.
//
// Names is a list of texts, Value a text or a number. A list that holds nothing is absent, Names
// that hold nothing are an empty list.
#pragma once

#include <google/protobuf/message.h>
#include <nlohmann/json.hpp>

namespace llmcf::serve {

// What the service reads. Throws HttpError 400 for a field that this version of the messages lacks.
nlohmann::ordered_json json_of(const google::protobuf::Message& request);

// Fills in what the service answers; null is absent. What the message has no field for goes into
// its field `details`. Throws Error naming it if there is none.
void fill(const nlohmann::ordered_json& answer, google::protobuf::Message& message);

}  // namespace llmcf::serve
