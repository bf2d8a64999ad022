// The `table` format: schemas, field kinds, times, and what import does with events.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/threads.h"
#include "data/fixture.h"
#include "data/times.h"

namespace llmcf::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kEvents = R"(
interactions: {file: events.csv, user: who, item: what, time: when}
)";

TEST(Table, ReadsEveryKindOnEverySide) {
  Workshop shop;
  shop.put("events.csv",
           "when,who,what,device,spent\n"
           "2014-03-01T12:00:00+02:00,ann,i2,phone,1\n"
           "2014-03-01,ann,i1,web,3\n"
           "2014-03-02 00:00:01Z,bob,i1,phone,\n");
  shop.put("things.jsonl",
           R"({"id": "i1", "name": "First", "price": 1, "tags": ["x", "y"], "about": "a b"})"
           "\n"
           R"({"id": "i2", "name": "Second", "price": 3, "tags": "y", "about": null})"
           "\n");
  shop.put("people.tsv", "name\tage\tcity\nbob\t30\tRome\neve\t99\tOslo\nann\t20\t\n");
  const Dataset dataset = shop.import(shop.table(R"(
interactions: {file: events.csv, user: who, item: what, time: when, time_format: iso8601}
items: {file: things.jsonl, item: id, title: name}
users: {file: people.tsv, user: name}
fields:
  - {name: price, kind: numeric}
  - {name: tags, kind: multi_categorical}
  - {name: about, kind: text}
  - {name: age, side: user, kind: numeric, buckets: 2}
  - {name: city, side: user}
  - {name: device, side: context}
  - {name: spent, side: context, kind: numeric}
)"));
  EXPECT_EQ(events_of(dataset), "ann:i1@1393632000 ann:i2@1393668000 bob:i1@1393718401");
  EXPECT_THAT(dataset.find_field("price")->values, ElementsAre(0.0F, -1.0F, 1.0F));
  EXPECT_EQ(values_of(dataset, "tags", 1), "x,y");
  EXPECT_EQ(values_of(dataset, "tags", 2), "y");
  EXPECT_EQ(dataset.find_field("about")->text[1], "a b");
  EXPECT_EQ(values_of(dataset, "age", 1), "[20, 30)");
  EXPECT_EQ(values_of(dataset, "age", 2), "[30, 30]");
  EXPECT_EQ(values_of(dataset, "city", 1), "");
  EXPECT_EQ(values_of(dataset, "city", 2), "Rome");
  EXPECT_EQ(dataset.find_field("city")->vocabulary_size(), 2);  // eve has no events
  EXPECT_EQ(values_of(dataset, "device", 0), "web");
  EXPECT_EQ(values_of(dataset, "device", 1), "phone");
  EXPECT_THAT(dataset.find_field("spent")->values, ElementsAre(1.0F, -1.0F, 0.0F));
  EXPECT_EQ(dataset.item_text(1), "title: First; tags: x, y; about: a b");
}

TEST(Table, TakesItemsFromInteractionsWithoutACatalogue) {
  Workshop shop;
  shop.put("events.csv", "who,what,when\nu,b,1\nu,a,2\n");
  const Dataset dataset = shop.import(shop.table(kEvents));
  EXPECT_EQ(dataset.num_items(), 2);
  EXPECT_EQ(dataset.item_name(1), "b");
  EXPECT_EQ(dataset.item_text(1), "");
}

TEST(Table, KeepsTiesInInputOrderAndUsersInOrderOfAppearance) {
  Workshop shop;
  shop.put("events.csv", "who,what,when\nz,c,2\na,x,7\nz,b,1\nz,a,2\nz,d,1\n");
  EXPECT_EQ(events_of(shop.import(shop.table(kEvents))), "z:b@1 z:d@1 z:c@2 z:a@2 a:x@7");
}

TEST(Table, DeduplicateKeepsTheEarliest) {
  Workshop shop;
  shop.put("events.csv", "who,what,when\nu,a,9\nu,b,5\nu,a,3\nv,a,4\nu,a,3\n");
  ImportOptions options = shop.table(kEvents);
  EXPECT_EQ(shop.import(options).num_events(), 5);
  options.deduplicate = true;
  EXPECT_EQ(events_of(shop.import(options)), "u:a@3 u:b@5 v:a@4");
  EXPECT_EQ(shop.summary.duplicate_events, 2);
}

TEST(Table, CoreIsAFixpoint) {
  // A chain: x has one event, so c falls below 2, so w does, so only {u, v} x {a, b} stays.
  Workshop shop;
  shop.put("events.csv", "who,what,when\nu,a,1\nu,b,2\nv,a,1\nv,b,2\nw,a,3\nw,c,4\nx,c,5\n");
  ImportOptions options = shop.table(kEvents);
  options.k_core = 2;
  EXPECT_EQ(events_of(shop.import(options)), "u:a@1 u:b@2 v:a@1 v:b@2");
  EXPECT_EQ(shop.summary.dropped_by_core, 3);
  EXPECT_EQ(shop.summary.items, 2);
  options.k_core = 5;
  EXPECT_THAT(error_of([&] { shop.import(options); }), HasSubstr("no interaction is left"));
}

TEST(Table, CoreDropsVocabularyOfRemovedItems) {
  Workshop shop;
  shop.put("events.csv", "who,what,when\nu,a,1\nu,b,2\nv,a,1\nv,b,2\nw,c,4\n");
  shop.put("items.csv", "id,brand\nc,Gone\nb,Kept\na,Kept\nunused,Never\n");
  ImportOptions options = shop.table(R"(
interactions: {file: events.csv, user: who, item: what, time: when}
items: {file: items.csv, item: id}
fields: [{name: brand}]
)");
  const Dataset all = shop.import(options);
  EXPECT_EQ(all.num_items(), 4);
  EXPECT_EQ(all.find_field("brand")->vocabulary_size(), 4);
  options.k_core = 2;
  const Dataset core = shop.import(options);
  EXPECT_EQ(core.num_items(), 2);
  EXPECT_EQ(core.item_name(1), "b");
  EXPECT_EQ(core.find_field("brand")->vocabulary_size(), 2);
  options.k_core = 0;
  options.keep_untouched_items = false;
  EXPECT_EQ(shop.import(options).num_items(), 3);
}

TEST(Table, QuotedCellsMayHoldLineEndsAndSeparators) {
  Workshop shop;
  shop.put("events.csv", "who,what,when\nu,\"a\nb,\"\"c\"\"\",1\n\nv,x,2");
  const Dataset dataset = shop.import(shop.table(kEvents));
  EXPECT_EQ(dataset.item_name(1), "a\nb,\"c\"");
  EXPECT_EQ(events_of(dataset), "u:a\nb,\"c\"@1 v:x@2");
}

TEST(Table, ReadsColumnsByNumberAndOwnSeparators) {
  Workshop shop;
  shop.put("events.dat", "1393632000000;;u;;a\n1393632001000;;u;;b\n");
  const Dataset dataset = shop.import(shop.table(R"(
interactions:
  {file: events.dat, separator: ";;", header: false, user: "2", item: "3", time: "1", time_format: milliseconds}
)"));
  EXPECT_EQ(events_of(dataset), "u:a@1393632000 u:b@1393632001");
}

TEST(Table, SameBytesForAnyNumberOfThreads) {
  Workshop shop;
  std::string text = "who,what,when\n";
  for (int64_t row = 0; row < 700000; ++row)
    text += fmt::format("user{},item{},{}\n", row * 7919 % 5003, row * 104729 % 997, row % 1000);
  shop.put("events.csv", text);
  const ImportOptions options = shop.table(kEvents);
  const int threads = thread_count();
  set_thread_count(1);
  shop.import(options);
  const std::string one = read_file(shop.out());
  set_thread_count(3);
  shop.import(options);
  const std::string three = read_file(shop.out());
  set_thread_count(threads);
  EXPECT_EQ(shop.summary.events, 700000);
  EXPECT_TRUE(one == three);
}

TEST(Table, FieldsOfTheConfigurationReplaceThePresets) {
  Workshop shop;
  shop.put("interactions.tsv", "user_id\titem_id\tunix_time\nu\ta\t5\n");
  shop.put("items.tsv", "item_id\ttitle\tbrand\tcategories\tcolour\na\tT\tB\tC\tred\n");
  shop.put("run.yaml", "data:\n  format: tsv\n  path: .\n  fields:\n    - {name: colour}\n");
  const Config config = Config::load(shop.path("run.yaml"));
  const ImportOptions options = ImportOptions::from(config.section("data"));
  const Dataset dataset = shop.import(options);
  EXPECT_EQ(dataset.fields().size(), 1U);
  EXPECT_EQ(dataset.item_text(1), "title: T; colour: red");
}

TEST(Table, ReadsAnInlineSchemaRelativeToTheConfiguration) {
  Workshop shop;
  shop.put("events.csv", "who,what,when\nu,a,1\n");
  shop.put("run.yaml",
           "data:\n  name: mine\n  schema:\n    interactions: {file: events.csv, user: who, item: "
           "what, time: when}\n");
  const ImportOptions options =
      ImportOptions::from(Config::load(shop.path("run.yaml")).section("data"));
  EXPECT_EQ(shop.import(options).name(), "mine");
  EXPECT_THAT(input_files(options), ElementsAre(shop.path("events.csv")));
}

TEST(Table, InputFilesHoldTheSchema) {
  Workshop shop;
  shop.put("events.csv", "who,what,when\nu,a,1\n");
  EXPECT_THAT(input_files(shop.table(kEvents)),
              ElementsAre(shop.path("schema.yaml"), shop.path("events.csv")));
}

TEST(Times, ReadIso8601) {
  const auto iso = [](std::string_view text) { return parse_time(text, TimeFormat::kIso8601); };
  EXPECT_EQ(iso("1970-01-02"), 86400);
  EXPECT_EQ(iso("2000-02-29T23:59:59.999Z"), 951868799);
  EXPECT_EQ(iso("2014-03-01 12:30"), 1393677000);
  EXPECT_EQ(iso("2014-03-01T12:30-0130"), 1393677000 + 5400);
  for (const char* bad : {"", "2014", "2014-02-30", "2014-3-1", "2014-03-01T", "2014-03-01T25:00",
                          "2014-03-01T12:30X", "1969-12-31", "2014-03-01T12:30:15."})
    EXPECT_EQ(iso(bad), std::nullopt) << bad;
}

TEST(Times, ReadNumbers) {
  EXPECT_EQ(parse_time("1393632000", TimeFormat::kSeconds), 1393632000);
  EXPECT_EQ(parse_time("1393632000.9", TimeFormat::kSeconds), 1393632000);
  EXPECT_EQ(parse_time("1393632000999", TimeFormat::kMilliseconds), 1393632000);
  for (const char* bad : {"", "-1", "x", "nan", "1e300", "1393632000000000"})
    EXPECT_EQ(parse_time(bad, TimeFormat::kSeconds), std::nullopt) << bad;
}

}  // namespace
}  // namespace llmcf::data
