// The pieces below the importers: bytes, blocks, Python literals, ids.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/block_reader.h"
#include "data/fixture.h"
#include "data/id_map.h"
#include "data/python_literal.h"

namespace llmcf::data {
namespace {

using ::testing::HasSubstr;

std::string read_all(const std::filesystem::path& path) {
  const auto source = open_bytes(path);
  std::string text;
  char buffer[1000];
  while (const size_t got = source->read(buffer, sizeof(buffer)))
    text.append(buffer, got);
  return text;
}

TEST(ByteSource, UnpacksByMagicNotByName) {
  Workshop shop;
  std::string text;
  for (int line = 0; line < 30000; ++line)
    text += std::to_string(line * 7919 % 10007) + "\n";
  EXPECT_EQ(read_all(shop.put("a.zst", text)), text);
  EXPECT_EQ(read_all(shop.put("a.txt", gzip(text))), text);
  EXPECT_EQ(read_all(shop.put("a.gz", zstd(text))), text);
  EXPECT_EQ(read_all(shop.put("a", gzip(text) + gzip("more") + std::string(10, '\0'))),
            text + "more");
  EXPECT_EQ(read_all(shop.put("a", zstd(text) + zstd("more"))), text + "more");
  EXPECT_EQ(read_all(shop.put("a", "")), "");
  EXPECT_EQ(read_all(shop.put("a", gzip(""))), "");
}

TEST(BlockReader, CutsAtRecordsForAnyBlockSize) {
  Workshop shop;
  const std::string text = "\"a\n\"\"b\",1\nc\"d,\"\"\n\n\"x,\ny\",2\nlast";
  Table table;
  table.path = shop.put("t.csv", "\xEF\xBB\xBF" + text);
  for (size_t size = 1; size < text.size() + 4; ++size) {
    BlockReader reader(table, size);
    Block block;
    std::string joined;
    int64_t line = 1;
    while (reader.next(block)) {
      EXPECT_EQ(block.first_line, line);
      line += std::count(block.text.begin(), block.text.end(), '\n');
      joined += block.text;
      for (const char* start : {"\"\"b", "b\"", "y\"", "\"y"})
        EXPECT_FALSE(block.text.starts_with(start)) << size;
    }
    EXPECT_EQ(joined, text) << size;
  }
}

// Writes what it hears as JSON-like text.
class Recorder final : public PythonEvents {
 public:
  void key(int, std::string_view name) override { text += '<' + std::string(name) + '>'; }
  void begin_dict(int) override { text += '{'; }
  void begin_list(int) override { text += '['; }
  void end(int) override { text += '.'; }
  void scalar(int, std::string_view value) override { text += '(' + std::string(value) + ')'; }
  std::string text;
};

std::string literal(std::string_view text) {
  Recorder recorder;
  const std::string problem = parse_python_literal(text, recorder);
  return problem.empty() ? recorder.text : "error: " + problem;
}

TEST(PythonLiteral, ReadsWhatReprWrites) {
  EXPECT_EQ(literal("{'a': 1, \"b\": [True, False, None], 'c': (2.5, -1e-3,), 'd': {}, 'e': []}"),
            "{<a>(1)<b>[(true)(false)().<c>[(2.5)(-1e-3).<d>{.<e>[..");
  EXPECT_EQ(literal(R"('it\'s "x" \\ \t\x41\101\u00e9\U0001F600\ud83d\ude00 \q')"),
            "(it's \"x\" \\ \tAAé😀😀 \\q)");
  EXPECT_EQ(literal("u'x'"), "(x)");
  EXPECT_EQ(literal("{\"json\": [true, false, null]}"), "{<json>[(true)(false)()..");
}

TEST(PythonLiteral, RejectsEverythingElse) {
  for (const char* bad :
       {"", "{'a': 1", "{'a' 1}", "{a: 1}", "['x'", "'open", "{'a': 1} x", "__import__('os')",
        "'\\ud83d'", "'\\u12'", "1 + 1", "{'a': 1,, }", "b'x'", "'a' 'b'", "1.2.3", "'\\N{DASH}'"})
    EXPECT_THAT(literal(bad), HasSubstr("error: column ")) << bad;
  EXPECT_THAT(literal(std::string(100000, '[')), HasSubstr("64 levels"));
}

TEST(IdMap, NumbersInOrderOfAppearance) {
  IdMap map;
  for (int key = 0; key < 10000; ++key)
    EXPECT_EQ(map.insert("key" + std::to_string(key)), key);
  EXPECT_EQ(map.insert(""), 10000);
  for (int key = 0; key < 10000; ++key)
    EXPECT_EQ(map.insert("key" + std::to_string(key)), key);
  EXPECT_EQ(map.find("key77"), 77);
  EXPECT_EQ(map.find("other"), std::nullopt);
  EXPECT_EQ(map[77], "key77");
  EXPECT_EQ(map.size(), 10001);
}

}  // namespace
}  // namespace llmcf::data
