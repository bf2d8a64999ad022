// Assignments on disk.
#include <fmt/format.h>

#include "core/safetensors.h"
#include "retrieval/assign.h"

namespace llmcf::retrieval {

namespace {

constexpr const char* kFormat = "llmcf.assignment.2";

template <typename T>
std::vector<T> read(const SafetensorsReader& file, const std::string& name,
                    const std::vector<int64_t>& shape) {
  const std::span<const T> values = file.get<T>(name, shape);
  return {values.begin(), values.end()};
}

}  // namespace

void Assignment::save(const std::filesystem::path& path) const {
  SafetensorsWriter file;
  file.set_metadata("format", kFormat);
  file.add<int32_t>("ids", {rows, k}, ids);
  file.add<float>("similarity", {rows, k}, similarity);
  file.add<float>("history_similarity", {rows, k}, history_similarity);
  file.add<float>("target_similarity", {rows, k}, target_similarity);
  file.add<float>("alignment", {rows}, alignment);
  file.write(path);
}

Assignment Assignment::load(const std::filesystem::path& path) {
  const SafetensorsReader file(path);
  if (const std::string& format = file.metadata("format"); format != kFormat) {
    throw InputError(path.string(), 0,
                     fmt::format("format is '{}', expected '{}': run the retrieve stage again",
                                 format, kFormat));
  }
  Assignment result;
  const std::vector<int64_t>& shape = file.tensor("ids").shape;
  if (shape.size() != 2) throw InputError(path.string(), 0, "tensor 'ids' is not a matrix");
  result.rows = shape[0];
  result.k = shape[1];
  result.ids = read<int32_t>(file, "ids", shape);
  result.similarity = read<float>(file, "similarity", shape);
  result.history_similarity = read<float>(file, "history_similarity", shape);
  result.target_similarity = read<float>(file, "target_similarity", shape);
  result.alignment = read<float>(file, "alignment", {result.rows});
  return result;
}

}  // namespace llmcf::retrieval
