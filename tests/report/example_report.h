// A report as a real run would fill it: three variants, three seeds, and the awkward cases (a seed
// without a figure, a bucket without rows, hostile titles, empty histories).
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "core/random.h"
#include "pipeline/report/report.h"

namespace llmcf::pipeline::testing {

inline constexpr const char* kHostileTitle = "<script>alert(1)</script>";
inline constexpr const char* kHostileCot =
    "</script><img src=x onerror=alert(2)> <!-- & \"quoted\"";

inline void add_variants(ReportData& data) {
  data.metrics = standard_metrics();
  data.variants = {{.name = "none",
                    .description = "DeepFM",
                    .metrics = {{{.7831, .7812, .7846}, Interval{.7788, .7872}, std::nullopt},
                                {{.5612, .5630, .5601}, Interval{.5571, .5664}, std::nullopt},
                                {{.7702, .7690, .7715}, std::nullopt, std::nullopt},
                                {{}, std::nullopt, std::nullopt}}},
                   {.name = "text",
                    .description = "DeepFM + the query's own text",
                    .metrics = {{{.8052, .8060, .8041}, Interval{.8010, .8093}, .0041},
                                {{.5391, .5402, .5385}, Interval{.5350, .5436}, .0009},
                                {{.7921, .7919, .7934}, std::nullopt, .012},
                                {{.0781, .0882, .0685}, std::nullopt, std::nullopt}}},
                   {.name = "llmcf",
                    .description = "DeepFM + in-context module, 4 examples with chains of thought",
                    .metrics = {{{.7869, .7790, std::nan("")}, Interval{.7781, .7879}, .31},
                                {{.5598, .5639, .5604}, Interval{.5559, .5668}, .74},
                                {{.7728, .7688, .7751}, std::nullopt, .22},
                                {{.0134, -.0078, std::nan("")}, std::nullopt, std::nullopt}}}};
}

inline void add_curves(ReportData& data) {
  Random random(1, "example.curves");
  for (const VariantResult& variant : data.variants) {
    for (const int64_t seed : data.seeds) {
      Curve curve{.variant = variant.name, .seed = seed};
      const int64_t epochs = 6 + static_cast<int64_t>(random.below(6));
      const double level = variant.name == "none" ? .783 : variant.name == "text" ? .806 : .788;
      for (int64_t epoch = 1; epoch <= epochs; ++epoch) {
        const double progress = 1 - std::exp(-.6 * static_cast<double>(epoch));
        const double fall = epoch + 2 > epochs ? .002 * static_cast<double>(epoch + 2 - epochs) : 0;
        curve.points.push_back({epoch, .69 - .16 * progress + random.uniform(0, .006),
                                .5 + (level - .5) * progress - fall + random.uniform(0, .002)});
      }
      curve.best_epoch = epochs - 2;
      data.curves.push_back(std::move(curve));
    }
  }
}

inline void add_slices(ReportData& data) {
  const double none = std::nan("");
  data.slices = {{.title = "History length",
                  .meaning = "items in the history when the row was scored",
                  .buckets = {"0", "1-2", "3-4", "5-6", "7-9", "10-19", "20-49", "50+"},
                  .rows = {0, 0, 24'318, 8'902, 5'124, 4'382, 1'901, 99},
                  .series = {{"none", {none, none, .771, .784, .801, .812, .815, .793}},
                             {"text", {none, none, .801, .806, .812, .815, .817, .801}},
                             {"llmcf", {none, none, .779, .789, .803, .809, .811, none}}}},
                 {.title = "Item popularity",
                  .meaning = "positives of the target item in the training split",
                  .buckets = {"0", "1-2", "3-5", "6-10", "11-20", "21-50", "51-100", "101+"},
                  .rows = {1'204, 3'121, 7'290, 11'003, 10'876, 7'232, 2'910, 1'090},
                  .series = {{"none", {.512, .640, .698, .745, .779, .830, .861, .902}},
                             {"text", {.667, .711, .742, .779, .801, .838, .866, .901}},
                             {"llmcf", {.603, .662, .711, .750, .786, .831, .864, .903}}}}};
}

inline std::vector<int64_t> bell(double centre, double width, int64_t total) {
  std::vector<int64_t> counts;
  for (int bin = 0; bin < 20; ++bin) {
    const double distance = (bin / 20.0 + .025 - centre) / width;
    counts.push_back(
        static_cast<int64_t>(static_cast<double>(total) * std::exp(-distance * distance / 2)));
  }
  return counts;
}

inline void add_similarity(ReportData& data) {
  std::vector<double> edges;
  for (int bin = 0; bin <= 20; ++bin)
    edges.push_back(bin / 20.0);
  for (const auto& [split, rows] : {std::pair("train", 264'200), std::pair("test", 44'726)}) {
    SplitSimilarity entry{.split = split,
                          .rows = rows,
                          .slots = 4,
                          .masked_share = .013,
                          .coverage = .994,
                          .pool_used = .871,
                          .mean_positive = .482,
                          .mean_negative = .407,
                          .edges = edges,
                          .series = {}};
    entry.series = {{"positive examples", bell(.49, .12, rows)},
                    {"negative examples", bell(.41, .10, rows)}};
    data.similarity.push_back(std::move(entry));
  }
}

inline RetrievedExample make_example(Random& random, int64_t label) {
  return {.similarity = random.uniform(.35, .8),
          .label = label,
          .target = label > 0 ? "Organix Argan Oil of Morocco Shampoo, 13 oz"
                              : "Remington S5500 Anti-Static Flat Iron",
          .history = {"Neutrogena Oil-Free Acne Wash", "Cetaphil Gentle Skin Cleanser",
                      "Aveeno Daily Moisturizing Lotion", "Burt's Bees Lip Balm",
                      "Olay Regenerist Serum"},
          .cot =
              "Profile: the user buys skin care of mid-priced drugstore brands, mostly for dry "
              "skin.\nTarget: a shampoo with argan oil, brand Organix, category Hair Care.\n"
              "Alignment: the same need (moisture) in another category; four of the last five "
              "purchases mention oil or moisture.\nDiversity: a step from skin to hair care, "
              "which this user took twice before."};
}

inline void add_rows(ReportData& data) {
  Random random(1, "example.rows");
  for (int64_t index = 0; index < 10; ++index) {
    TestRow row{.user = "A1YJEY40YUW4SE" + std::to_string(index),
                .history = {"Bare Escentuals Mineral Veil", "Philosophy Purity Made Simple"},
                .target = index == 0 ? kHostileTitle : "Maybelline Great Lash Mascara, Very Black",
                .label = index % 2 == 0 ? 1 : 0,
                .scores = {},
                .examples = {}};
    for (int64_t item = 0; item < index; ++item)
      row.history.push_back("OPI Nail Lacquer, shade " + std::to_string(item + 1));
    for (size_t variant = 0; variant < data.variants.size(); ++variant)
      row.scores.push_back(random.uniform(.05, .95));
    for (int64_t example = 0; example < 4; ++example)
      row.examples.push_back(make_example(random, example % 2));
    data.rows.push_back(std::move(row));
  }
  data.rows[0].examples[0].cot = kHostileCot;
  data.rows[1].scores[2] = std::nan("");
  data.rows[2].history.clear();
  data.rows[3].examples.clear();
}

inline ReportData example_report() {
  ReportData data;
  data.title = "beauty-deepfm";
  data.created = "2026-11-23 14:05 UTC";
  data.protocol = "strict";
  data.reasoner = "template (no language model)";
  data.interval_name = "95 % bootstrap interval over test users";
  data.test_name = "paired t-test over seeds";
  data.seeds = {2023, 2024, 2025};
  data.dataset = {{"Source", "amazon-beauty"}, {"Users", "22,363"},       {"Items", "12,101"},
                  {"Interactions", "198,502"}, {"Train rows", "264,200"}, {"Test rows", "44,726"}};
  data.configuration =
      "name: beauty-deepfm\nseeds: [2023, 2024, 2025]\nmodel: {backbone: deepfm}\n";
  add_variants(data);
  add_curves(data);
  add_slices(data);
  add_similarity(data);
  add_rows(data);
  data.stages = {{"import", 3.1, 412, false},         {"split", .6, 398, false},
                 {"encode", 9.4, 655, true},          {"reason", 41.2, 702, false},
                 {"retrieve", 38.7, 1104, false},     {"train.none", 61.5, 1233, false},
                 {"train.llmcf", 402.9, 1821, false}, {"report", 1.2, 1821, false}};
  data.environment = {{"llmcf", "0.1.0"},
                      {"libtorch", "1.13.1"},
                      {"BLAS", "OpenBLAS 0.3.21 (OpenMP)"},
                      {"SIMD", "AVX2"},
                      {"Threads", "2"}};
  return data;
}

}  // namespace llmcf::pipeline::testing
