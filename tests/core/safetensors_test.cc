// Safetensors: round trips, the layout other readers demand, and every kind of damage is an error
// that names the file.
#include "core/safetensors.h"

#include <cstring>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace llmcf {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A file as another writer would make it: any header, any payload.
std::string raw_file(const std::string& header, const std::string& payload) {
  const uint64_t size = header.size();
  std::string bytes(sizeof(size), '\0');
  std::memcpy(bytes.data(), &size, sizeof(size));
  return bytes + header + payload;
}

class Safetensors : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return directory_.path() / "a.safetensors"; }

  void write_example() const {
    const std::vector<float> weights = {1, 2, 3, 4, 5, 6};
    const std::vector<int64_t> ids = {7, 8};
    const std::vector<uint8_t> flags = {1, 0, 1};
    SafetensorsWriter writer;
    writer.set_metadata("format", "1");
    writer.add<float>("weights", {2, 3}, weights);
    writer.add<int64_t>("ids", ids);
    writer.add<uint8_t>("flags", flags);
    writer.write(path());
  }

  std::string error_of(const std::function<void()>& action) const {
    try {
      action();
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("a.safetensors"));
      return error.what();
    }
    return "(nothing was thrown)";
  }
  std::string error_of_opening(const std::string& bytes) const {
    std::ofstream(path(), std::ios::binary) << bytes;  // hundreds of files: no fsync
    return error_of([&] { SafetensorsReader reader(path()); });
  }

  TemporaryDirectory directory_;
};

TEST_F(Safetensors, RoundTripKeepsValuesShapesAndMetadata) {
  write_example();
  const SafetensorsReader reader(path());
  EXPECT_THAT(reader.get<float>("weights", {2, 3}), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(reader.get<int64_t>("ids"), ElementsAre(7, 8));
  EXPECT_THAT(reader.get<uint8_t>("flags"), ElementsAre(1, 0, 1));
  EXPECT_THAT(reader.tensor("weights").shape, ElementsAre(2, 3));
  EXPECT_EQ(reader.metadata("format"), "1");
}

TEST_F(Safetensors, EmptyTensorsAndScalarsSurvive) {
  const std::vector<float> none, one = {2.5f};
  SafetensorsWriter writer;
  writer.add<float>("none", {0, 4}, none);
  writer.add<float>("scalar", {}, one);
  writer.write(path());
  const SafetensorsReader reader(path());
  EXPECT_TRUE(reader.get<float>("none", {-1, 4}).empty());
  EXPECT_THAT(reader.get<float>("scalar"), ElementsAre(2.5f));
}

TEST_F(Safetensors, LayoutHasNoHolesAndEveryTensorIsAligned) {
  write_example();
  const std::string bytes = read_file(path());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  EXPECT_EQ((sizeof(header_bytes) + header_bytes) % 64, 0u);
  const auto header = nlohmann::json::parse(bytes.substr(sizeof(header_bytes), header_bytes));
  std::map<uint64_t, uint64_t> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") ranges[entry["data_offsets"][0]] = entry["data_offsets"][1];
  }
  uint64_t position = 0;
  for (const auto& [begin, end] : ranges) {
    EXPECT_EQ(begin, position);
    position = end;
  }
  EXPECT_EQ(sizeof(header_bytes) + header_bytes + position, bytes.size());
  EXPECT_EQ(header["ids"]["data_offsets"][0], 0) << "the widest elements come first";
}

TEST_F(Safetensors, SameContentGivesTheSameBytes) {
  write_example();
  const std::string first = read_file(path());
  write_example();
  EXPECT_EQ(read_file(path()), first);
}

TEST_F(Safetensors, TruncationAnywhereIsNoticed) {
  write_example();
  const std::string bytes = read_file(path());
  for (size_t size = 0; size < bytes.size(); size += 3) {
    EXPECT_NE(error_of_opening(bytes.substr(0, size)), "(nothing was thrown)") << size;
  }
  EXPECT_NE(error_of_opening(bytes.substr(0, bytes.size() - 1)), "(nothing was thrown)");
}

TEST_F(Safetensors, EveryFlippedPayloadByteIsNoticed) {
  write_example();
  const std::string bytes = read_file(path());
  for (size_t back = 1; back <= 6 * 4 + 2 * 8 + 3; ++back) {
    std::string damaged = bytes;
    damaged[bytes.size() - back] ^= 0x10;
    EXPECT_THAT(error_of_opening(damaged), HasSubstr("does not match its checksum")) << back;
  }
}

TEST_F(Safetensors, ChecksumsMayBeLeftForLater) {
  write_example();
  std::string bytes = read_file(path());
  bytes.back() ^= 1;
  write_file(path(), bytes);
  const SafetensorsReader reader(path(), SafetensorsReader::Check::kHeader);
  EXPECT_THAT(error_of([&] { reader.verify_checksums(); }), HasSubstr("'flags'"));
}

TEST_F(Safetensors, OverlappingTensorsAreRefused) {
  EXPECT_THAT(error_of_opening(raw_file(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
                                    "b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                                        "123456")),
              AllOf(HasSubstr("'a' and 'b' overlap")));
}

TEST_F(Safetensors, LyingHeadersAreRefused) {
  const auto header = [](const std::string& dtype, const std::string& shape,
                         const std::string& offsets) {
    return raw_file(R"({"t":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
                        offsets + "}}",
                    "12345678");
  };
  EXPECT_THAT(error_of_opening(header("F32", "[3]", "[0,8]")), HasSubstr("do not hold shape [3]"));
  EXPECT_THAT(error_of_opening(header("F32", "[3]", "[0,12]")), HasSubstr("truncated or damaged"));
  EXPECT_THAT(error_of_opening(header("F32", "[2]", "[8,0]")), HasSubstr("damaged"));
  EXPECT_THAT(error_of_opening(header("F32", "[2]", "[-8,0]")), HasSubstr("damaged"));
  EXPECT_THAT(error_of_opening(header("F32", "[2]", "[0]")), HasSubstr("damaged"));
  EXPECT_THAT(error_of_opening(header("F32", "[-2]", "[0,8]")), HasSubstr("bad shape"));
  EXPECT_THAT(error_of_opening(header("F32", "[4294967296,4294967296]", "[0,8]")),
              HasSubstr("bad shape"));
  EXPECT_THAT(error_of_opening(header("F32", "[4611686018427387906]", "[0,8]")),
              HasSubstr("do not hold shape"));
  EXPECT_THAT(error_of_opening(header("C64", "[1]", "[0,8]")), HasSubstr("unsupported dtype"));
  EXPECT_THAT(error_of_opening(header("F32", "\"x\"", "[0,8]")), HasSubstr("damaged safetensors"));
}

TEST_F(Safetensors, NotASafetensorsFileIsSaid) {
  EXPECT_THAT(error_of_opening(""), HasSubstr("too short"));
  EXPECT_THAT(error_of_opening("{\"json\": \"but no length\"}"), HasSubstr("does not fit"));
  EXPECT_THAT(error_of_opening(raw_file("{not json", "")), HasSubstr("damaged safetensors header"));
  EXPECT_THAT(error_of_opening(raw_file("[1, 2]", "")), HasSubstr("damaged safetensors header"));
}

TEST_F(Safetensors, FilesOfOtherWritersNeedNoChecksums) {
  write_file(path(), raw_file(R"({"t":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "ab"));
  EXPECT_THAT(SafetensorsReader(path()).get<uint8_t>("t"), ElementsAre('a', 'b'));
}

TEST_F(Safetensors, MisalignedTensorsCanBeListedButNotViewed) {
  std::string header = R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  header.resize(64, ' ');
  write_file(path(), raw_file(header, "12345"));
  const SafetensorsReader reader(path());
  EXPECT_EQ(reader.tensor("t").bytes, 4u);
  EXPECT_THAT(error_of([&] { reader.get<float>("t"); }), HasSubstr("multiple of its 4-byte"));
}

TEST_F(Safetensors, WrongTypeShapeOrNameIsNamed) {
  write_example();
  const SafetensorsReader reader(path());
  EXPECT_THAT(error_of([&] { reader.get<double>("weights"); }), HasSubstr("is F32, expected F64"));
  EXPECT_THAT(error_of([&] {
                reader.get<float>("weights", {3, 2});
              }),
              AllOf(HasSubstr("shape [2, 3]"), HasSubstr("expected [3, 2]")));
  EXPECT_THAT(error_of([&] { reader.get<float>("weights", {6}); }), HasSubstr("expected [6]"));
  EXPECT_THAT(error_of([&] { reader.tensor("bias"); }), HasSubstr("'bias' is missing"));
  EXPECT_THAT(error_of([&] { reader.metadata("nothing"); }), HasSubstr("'nothing' is missing"));
}

TEST_F(Safetensors, WriterRefusesValuesThatDoNotFillTheShape) {
  SafetensorsWriter writer;
  const std::vector<float> values = {1, 2, 3};
  EXPECT_THROW(writer.add<float>("t", {2, 2}, values), std::logic_error);
}

TEST_F(Safetensors, StringColumnsRoundTrip) {
  StringColumnBuilder builder;
  for (const char* text : {"Rosé", "", "soap"})
    builder.push_back(text);
  EXPECT_EQ(builder[0], "Rosé");
  SafetensorsWriter writer;
  builder.add_to(writer, "title");
  writer.write(path());
  const SafetensorsReader reader(path());
  const StringColumn column(reader, "title");
  ASSERT_EQ(column.size(), 3);
  EXPECT_EQ(column[0], "Rosé");
  EXPECT_EQ(column[1], "");
  EXPECT_EQ(column[2], "soap");
}

TEST_F(Safetensors, StringColumnsWithDamagedOffsetsAreRefused) {
  const std::vector<uint8_t> bytes = {'a', 'b', 'c'};
  for (const std::vector<int64_t>& offsets :
       std::vector<std::vector<int64_t>>{{}, {0, 4}, {1, 3}, {0, 2}, {0, 3, 2, 3}, {0, -1, 3}}) {
    SafetensorsWriter writer;
    writer.add<uint8_t>("t.bytes", bytes);
    writer.add<int64_t>("t.offsets", offsets);
    writer.write(path());
    const SafetensorsReader reader(path());
    EXPECT_THAT(error_of([&] { StringColumn column(reader, "t"); }),
                HasSubstr("offsets are damaged"));
  }
}

}  // namespace
}  // namespace llmcf
