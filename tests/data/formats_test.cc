// Every published format on a few rows written here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/fixture.h"

namespace llmcf::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Amazon2014, ReadsPythonLiterals) {
  Workshop shop;
  shop.put("reviews_Beauty.json.gz",
           gzip("{\"reviewerID\": \"U1\", \"asin\": \"B2\", \"helpful\": [0, 1], \"reviewText\": "
                "\"it's \\\"fine\\\"\", \"overall\": 4.0, \"unixReviewTime\": 200}\n"
                "{\"reviewerID\": \"U1\", \"asin\": \"B1\", \"overall\": 2.0, "
                "\"unixReviewTime\": 100}\n"));
  shop.put("meta_Beauty.json.gz",
           gzip("{'asin': 'B1', 'title': 'Estée\\'s \"Best\" \\u2014 cr\\xe8me', 'related': "
                "{'also_bought': ['x', 'y']}, 'salesRank': {'Beauty': 12}, 'categories': "
                "[['Beauty', 'Skin Care', 'Face'], ['Beauty', 'Gifts']], 'brand': \"L'Oreal\"}\n"
                "{'asin': 'B2', 'price': 9.5, 'title': None, 'categories': [['Beauty', 'Hair']], "
                "'imUrl': u'http://x'}\n"));
  const Dataset dataset = shop.import(shop.options("amazon2014"));
  EXPECT_EQ(dataset.num_users(), 1);
  EXPECT_EQ(dataset.num_items(), 2);
  EXPECT_EQ(events_of(dataset), "U1:B1@100 U1:B2@200");
  EXPECT_THAT(dataset.event_rating(), ElementsAre(2.0F, 4.0F));
  EXPECT_EQ(dataset.item_title(1), "Estée's \"Best\" — crème");
  EXPECT_EQ(dataset.item_title(2), "");
  EXPECT_EQ(values_of(dataset, "brand", 1), "L'Oreal");
  EXPECT_EQ(values_of(dataset, "brand", 2), "");
  // 'Beauty' is on every item and is left out.
  EXPECT_EQ(values_of(dataset, "category", 1), "Skin Care,Face,Gifts");
  EXPECT_EQ(dataset.item_text(1),
            "title: Estée's \"Best\" — crème; brand: L'Oreal; category: Skin Care, Face, Gifts");
  EXPECT_EQ(dataset.item_text(2), "category: Hair");
}

TEST(Amazon2018, ReadsJsonLines) {
  Workshop shop;
  shop.put("All_Beauty_5.json",
           "{\"overall\": 5.0, \"reviewerID\": \"U1\", \"asin\": \"B1\", \"unixReviewTime\": 100, "
           "\"style\": {\"Size:\": \" 1\"}}\n"
           "{\"overall\": 1, \"reviewerID\": \"U2\", \"asin\": \"B2\", \"unixReviewTime\": 90}\n");
  const std::string meta =
      "{\"category\": [\"Skin\", \"Face\"], \"title\": \"Cream \\u00e9\", \"brand\": \"Acme\", "
      "\"asin\": \"B1\"}\n";
  shop.put("meta_All_Beauty.json.zst",
           zstd(meta +
                "{\"category\": [\"Hair\"], \"title\": \"Comb\", \"brand\": \"\", \"asin\": "
                "\"B2\"}\n" +
                meta));
  const Dataset dataset = shop.import(shop.options("amazon2018"));
  EXPECT_EQ(events_of(dataset), "U1:B1@100 U2:B2@90");
  EXPECT_THAT(dataset.event_rating(), ElementsAre(5.0F, 1.0F));
  EXPECT_EQ(dataset.item_text(1), "title: Cream é; brand: Acme; category: Skin, Face");
  EXPECT_EQ(dataset.item_text(2), "title: Comb; category: Hair");
  EXPECT_EQ(shop.summary.duplicate_items, 1);
}

TEST(Amazon2023, ReadsMillisecondsAndParentItems) {
  Workshop shop;
  shop.put("Beauty.jsonl",
           "{\"rating\": 5.0, \"asin\": \"C1\", \"parent_asin\": \"B1\", \"user_id\": \"U1\", "
           "\"timestamp\": 1588687728923, \"images\": []}\n");
  shop.put("meta_Beauty.jsonl",
           "{\"main_category\": \"All Beauty\", \"title\": \"Cream\", \"store\": \"Acme\", "
           "\"categories\": [], \"details\": {\"Brand\": \"x\"}, \"parent_asin\": \"B1\"}\n");
  const Dataset dataset = shop.import(shop.options("amazon2023"));
  EXPECT_EQ(events_of(dataset), "U1:B1@1588687728");
  EXPECT_EQ(dataset.item_text(1), "title: Cream; brand: Acme");
  shop.put("ratings.csv", "user_id,parent_asin,rating,timestamp\nU9,B1,3.0,2000\n");
  ImportOptions options = shop.options("amazon2023");
  EXPECT_THAT(error_of([&] { input_files(options); }), HasSubstr("several files"));
  options.interactions = shop.path("ratings.csv");
  EXPECT_EQ(events_of(shop.import(options)), "U9:B1@2");
}

TEST(Tsv, ReadsPathsAndKeepsQuotes) {
  Workshop shop;
  shop.put("interactions.tsv", "user_id\titem_id\tunix_time\nu\tb\t5\nu\ta\t5\nv\ta\t1\n");
  shop.put("items.tsv.gz",
           gzip("item_id\ttitle\tbrand\tcategories\n"
                "a\t\"Quoted\" cream\tAcme, Inc\tBeauty > Skin, Care > Face || Gifts > Face\n"
                "b\tComb\t\tBeauty > Hair\n"));
  const Dataset dataset = shop.import(shop.options("tsv"));
  EXPECT_EQ(events_of(dataset), "u:b@5 u:a@5 v:a@1");
  EXPECT_TRUE(dataset.event_rating().empty());
  EXPECT_EQ(dataset.item_title(1), "\"Quoted\" cream");
  EXPECT_EQ(values_of(dataset, "category", 1), "Skin, Care,Face,Gifts");
  EXPECT_EQ(values_of(dataset, "category", 2), "Hair");
  EXPECT_EQ(values_of(dataset, "category", 0), "");
  EXPECT_EQ(dataset.find_field("title")->text[1], "\"Quoted\" cream");
  EXPECT_EQ(dataset.find_field("nothing"), nullptr);
}

TEST(MovieLens, ReadsTheCsvRelease) {
  Workshop shop;
  shop.put("ratings.csv", "userId,movieId,rating,timestamp\r\n1,31,2.5,1260759144\r\n");
  shop.put("movies.csv",
           "movieId,title,genres\r\n"
           "31,\"American President, The \"\"AP\"\" (1995)\",Comedy|Drama\r\n"
           "32,Nameless,(no genres listed)\r\n");
  const Dataset dataset = shop.import(shop.options("movielens"));
  EXPECT_EQ(events_of(dataset), "1:31@1260759144");
  EXPECT_THAT(dataset.event_rating(), ElementsAre(2.5F));
  EXPECT_EQ(dataset.item_title(1), "American President, The \"AP\" (1995)");
  EXPECT_EQ(values_of(dataset, "genres", 1), "Comedy,Drama");
  EXPECT_EQ(values_of(dataset, "year", 1), "1995");
  EXPECT_EQ(values_of(dataset, "genres", 2), "");
  EXPECT_EQ(values_of(dataset, "year", 2), "");
  EXPECT_EQ(shop.summary.untouched_items, 1);
}

TEST(MovieLens, ReadsTheOneMillionRelease) {
  Workshop shop;
  shop.put("ratings.dat", "1::10::5::978300760\n2::10::3::978302109\n");
  shop.put("movies.dat", "10::Mis\xe9rables, Les (1998)::Drama|Musical\n");
  shop.put("users.dat", "1::F::1::10::48067\n2::M::56::16::70072\n");
  const Dataset dataset = shop.import(shop.options("movielens"));
  EXPECT_EQ(dataset.item_title(1), "Misérables, Les (1998)");
  EXPECT_EQ(values_of(dataset, "year", 1), "1998");
  EXPECT_EQ(values_of(dataset, "gender", 1), "F");
  EXPECT_EQ(values_of(dataset, "occupation", 2), "16");
  EXPECT_EQ(dataset.find_field("age")->field.kind, Kind::kCategorical);
  EXPECT_NE(values_of(dataset, "age", 1), values_of(dataset, "age", 2));
}

TEST(MovieLens, ReadsTheOriginalHundredThousand) {
  Workshop shop;
  shop.put("u.data", "196\t242\t3\t881250949\n");
  shop.put("u.item",
           "242|Kolya (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya%20(1996)"
           "|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|1\n");
  shop.put("u.user", "196|49|M|writer|55105\n");
  const Dataset dataset = shop.import(shop.options("movielens"));
  EXPECT_EQ(values_of(dataset, "genres", 1), "Comedy,Western");
  EXPECT_EQ(values_of(dataset, "year", 1), "1996");
  EXPECT_EQ(values_of(dataset, "gender", 1), "M");
  EXPECT_EQ(values_of(dataset, "age", 1), "[49, 49]");
}

TEST(MovieLens, ReadsAtomicFiles) {
  Workshop shop;
  shop.put("x.inter",
           "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t8.5\n");
  shop.put("x.item",
           "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
           "242\tKolya\t1996\tComedy Drama\n");
  const Dataset dataset = shop.import(shop.options("movielens"));
  EXPECT_EQ(events_of(dataset), "196:242@8");
  EXPECT_EQ(dataset.item_text(1), "title: Kolya; genres: Comedy, Drama; year: 1996");
}

TEST(MovieLens, NamesWhatItLooksFor) {
  Workshop shop;
  shop.put("other.txt", "x");
  EXPECT_THAT(error_of([&] { shop.import(shop.options("movielens")); }),
              HasSubstr("expected u.data, *.inter, ratings.dat or ratings.csv"));
}

}  // namespace
}  // namespace llmcf::data
