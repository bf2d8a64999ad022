// What import says about input that is wrong, and what it leaves behind: nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/fixture.h"

namespace llmcf::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr std::string_view kSchema = R"(
interactions: {file: events.csv, user: who, item: what, time: when, rating: stars}
items: {file: items.csv, item: id, title: name}
fields: [{name: price, kind: numeric}]
)";

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override { shop_.put("items.csv", "id,name,price\na,A,1\nb,B,2\n"); }

  // The error for these interactions behind a sound one on line 2.
  std::string error_for(std::string_view row, int64_t skip = 0) {
    shop_.put("events.csv", "who,what,when,stars\nu,a,1,5\n" + std::string(row));
    return run(skip);
  }
  std::string run(int64_t skip = 0) {
    ImportOptions options = shop_.table(kSchema);
    options.skip_bad_rows = skip;
    const std::string error = error_of([&] { shop_.import(options); });
    EXPECT_EQ(std::filesystem::exists(shop_.out()), error == "no error");
    if (std::filesystem::exists(shop_.out().parent_path()) && error != "no error") {
      EXPECT_TRUE(std::filesystem::is_empty(shop_.out().parent_path()));
    }
    return error;
  }

  Workshop shop_;
};

TEST_F(BadInput, MalformedRow) {
  EXPECT_THAT(error_for("v,b\n"),
              AllOf(HasSubstr("events.csv:3: malformed row"),
                    HasSubstr("expected 4 columns, found 2"), HasSubstr("skip_bad_rows")));
  EXPECT_THAT(error_for("\"v\"x,b,2,3\n"), HasSubstr("events.csv:3: malformed row: text behind"));
  EXPECT_THAT(error_for("u,b,2,3\n\"v,b,2,3\nu,b,2,3\n"),
              HasSubstr("events.csv:4: malformed row: a quote is opened and never closed"));
}

TEST_F(BadInput, LineCountsQuotedLineEnds) {
  EXPECT_THAT(error_for("\"u\n\n\",b,1,1\nv,b\n"), HasSubstr("events.csv:6: malformed row"));
}

TEST_F(BadInput, MissingColumn) {
  shop_.put("events.csv", "who,what,time,stars\nu,a,1,5\n");
  EXPECT_THAT(run(1000), AllOf(HasSubstr("events.csv:1: missing column 'when'"),
                               HasSubstr("who, what, time, stars")));
}

TEST_F(BadInput, EmptyFile) {
  shop_.put("events.csv", "");
  EXPECT_THAT(run(), HasSubstr("the file is empty"));
}

TEST_F(BadInput, NonUtf8Byte) {
  EXPECT_THAT(error_for("v,b\xff,2,3\n"),
              HasSubstr("events.csv:3: not UTF-8: column 'what', byte 2"));
}

TEST_F(BadInput, UnknownItem) {
  EXPECT_THAT(error_for("v,zzz,2,3\n"),
              AllOf(HasSubstr("events.csv:3: unknown item: 'zzz' is not in"),
                    HasSubstr("items_from_interactions")));
}

TEST_F(BadInput, BadNumberAndTime) {
  EXPECT_THAT(
      error_for("v,b,2,good\n"),
      HasSubstr("events.csv:3: bad number: column 'stars': expected a number, found 'good'"));
  EXPECT_THAT(error_for("v,b,soon,3\n"), HasSubstr("events.csv:3: bad time: column 'when'"));
  EXPECT_THAT(error_for(",b,2,3\n"),
              HasSubstr("events.csv:3: missing value: column 'who' is empty"));
  shop_.put("items.csv", "id,name,price\na,A,1\nb,B,cheap\n");
  EXPECT_THAT(error_for(""), HasSubstr("items.csv:3: bad number: column 'price'"));
}

TEST_F(BadInput, SkippedRowsAreCountedByReason) {
  const std::string rows = "v,b\nv,zzz,2,3\nv,b,2,x\nv,b,2,4\nv,b,\n";
  EXPECT_EQ(error_for(rows, 4), "no error");
  EXPECT_EQ(shop_.summary.events, 2);
  EXPECT_EQ(shop_.summary.rows_read, 6);
  EXPECT_EQ(shop_.summary.bad_rows, 4);
  EXPECT_THAT(shop_.summary.bad_rows_by_reason,
              UnorderedElementsAre(Pair("malformed row", 2), Pair("unknown item", 1),
                                   Pair("bad number", 1)));
  EXPECT_THAT(describe(shop_.summary), HasSubstr("2 malformed row"));
}

TEST_F(BadInput, OneMoreThanToleratedIsAnError) {
  EXPECT_EQ(error_for("v,b\nv,zzz,2,3\n", 2), "no error");
  std::filesystem::remove(shop_.out());
  EXPECT_THAT(
      error_for("v,b\nv,zzz,2,3\nv,b,x,1\nv,b,2,3\n", 2),
      AllOf(HasSubstr("events.csv:5: bad time"), HasSubstr("2 bad rows were skipped before it")));
}

TEST_F(BadInput, TruncatedGzipNamesTheLine) {
  std::string text = "who,what,when,stars\n";
  for (int64_t row = 0; row < 50000; ++row)
    text += fmt::format("u{},a,{},5\n", row * 7919 % 100003, row);
  const std::string packed = gzip(text);
  shop_.put("events.csv", packed.substr(0, packed.size() / 2));
  const std::string error = run(1000);
  EXPECT_THAT(error, HasSubstr("truncated gzip data"));
  EXPECT_THAT(error, ::testing::ContainsRegex("events.csv:[0-9]{5}: "));
  shop_.put("events.csv", zstd(text).substr(0, packed.size() / 3));
  EXPECT_THAT(run(1000), HasSubstr("truncated zstd data"));
  std::string damaged = packed;
  damaged[damaged.size() / 2] ^= 0x55;
  damaged[damaged.size() / 2 + 1] ^= 0x55;
  shop_.put("events.csv", damaged);
  EXPECT_THAT(run(1000), HasSubstr("gzip data"));
}

TEST_F(BadInput, JsonAndPythonNameTheProblem) {
  shop_.put("reviews_x.json",
            R"({"reviewerID": "U", "asin": "B", "overall": 1, "unixReviewTime": 1})"
            "\n");
  shop_.put("meta_x.json", "{'asin': 'B', 'title': 'T', 'brand': 'X', 'categories': [['C'],}\n");
  ImportOptions options = shop_.options("amazon2014");
  options.items = shop_.path("meta_x.json");
  options.interactions = shop_.path("reviews_x.json");
  EXPECT_THAT(error_of([&] { shop_.import(options); }),
              AllOf(HasSubstr("meta_x.json:1: malformed row: not a Python literal: column 64"),
                    HasSubstr("expected a value")));
  options.format = "amazon2018";
  EXPECT_THAT(error_of([&] { shop_.import(options); }),
              HasSubstr("meta_x.json:1: malformed row: not JSON"));
  shop_.put("meta_x.json", R"({"asin": "B", "title": "T", "brand": {}, "category": []})"
                           "\n");
  EXPECT_THAT(error_of([&] { shop_.import(options); }), HasSubstr("'brand' holds an object"));
  shop_.put("meta_x.json", R"({"asin": "B", "title": "T", "category": []})"
                           "\n");
  EXPECT_THAT(error_of([&] { shop_.import(options); }), HasSubstr("missing column 'brand'"));
}

TEST_F(BadInput, SchemaMistakes) {
  const auto error = [&](std::string_view schema) {
    return error_of([&] { input_files(shop_.table(schema)); });
  };
  EXPECT_THAT(error("interactions: {file: e.csv, user: u, item: i, time: t, tine_format: x}"),
              HasSubstr("did you mean 'time_format'?"));
  EXPECT_THAT(error("interactions: {file: e.csv, user: u, item: i}"), HasSubstr("time"));
  EXPECT_THAT(error("interactions: {file: e.csv, user: u, item: i, time: t}\n"
                    "fields: [{name: brand}]"),
              HasSubstr("'brand' is an item field, but there is no items: section"));
  EXPECT_THAT(error("interactions: {file: e.csv, user: u, item: i, time: t}\n"
                    "fields: [{name: d, side: context, kind: txt}]"),
              HasSubstr("did you mean 'text'?"));
  EXPECT_THAT(error("interactions: {file: missing.csv, user: u, item: i, time: t}"),
              HasSubstr("no such file"));
}

TEST_F(BadInput, UnknownFormatNamesTheKnown) {
  const Config config = Config::parse("format: amazon2019");
  EXPECT_THAT(error_of([&] { ImportOptions::from(config); }), HasSubstr("did you mean 'amazon201"));
}

TEST_F(BadInput, ADamagedDataSetFileIsAnError) {
  EXPECT_EQ(error_for(""), "no error");
  std::string bytes = read_file(shop_.out());
  bytes[bytes.size() - 3] ^= 1;
  write_file(shop_.out(), bytes);
  EXPECT_THAT(error_of([&] { Dataset dataset(shop_.out()); }), HasSubstr("dataset.safetensors"));
  EXPECT_THAT(error_of([&] { Dataset dataset(shop_.path("none")); }), HasSubstr("none"));
}

}  // namespace
}  // namespace llmcf::data
