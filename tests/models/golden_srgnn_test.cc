// SR-GNN meets its own authors' code: graphs, node states and scores of recorded sessions, among
// them ones with repeated items.
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "models/golden_compare.h"
#include "models/sequence_recommender.h"
#include "models/session_graph.h"
#include "shared_data.h"

namespace llmcf::models {
namespace {

class SrgnnRecording {
 public:
  explicit SrgnnRecording(std::filesystem::path json)
      : reader(json.replace_extension(".safetensors")),
        sessions(testing::values_of<int64_t>(reader, "in.sessions")),
        width(reader.tensor("in.sessions").shape[1]) {}

  torch::Tensor floats(const std::string& key) const {
    auto values = testing::values_of<float>(reader, key);
    return at::from_blob(values.data(), reader.tensor(key).shape).clone();
  }

  std::vector<int32_t> session(int64_t s) const {
    std::vector<int32_t> items;
    for (int64_t i = 0; i < width; ++i)
      if (const int64_t id = sessions[static_cast<size_t>(s * width + i)]; id != 0)
        items.push_back(static_cast<int32_t>(id));
    return items;
  }
  int64_t count() const { return static_cast<int64_t>(sessions.size()) / width; }
  int64_t item_rows() const { return reader.tensor("param.embedding.weight").shape[0]; }

  // The whole table is the slab, so that items are slab rows.
  SequenceBatch batch() const {
    SequenceBatch batch;
    SessionGraphBuilder graphs;
    graphs.begin(item_rows(), batch.graphs);
    batch.offsets = {0};
    for (int64_t s = 0; s < count(); ++s) {
      const auto items = session(s);
      batch.items.insert(batch.items.end(), items.begin(), items.end());
      batch.offsets.push_back(static_cast<int32_t>(batch.items.size()));
      batch.reads.push_back(batch.offsets.back() - 1);
      graphs.add(items, batch.graphs);
    }
    batch.common.queries = batch.common.samples = count();
    batch.sample_user.assign(static_cast<size_t>(count()), 0);
    batch.sample_item.assign(static_cast<size_t>(count()), 0);
    batch.common.tables.resize(2);
    for (int32_t row = 0; row < item_rows(); ++row)
      batch.common.tables[kItemTable].rows.push_back(row);
    return batch;
  }

  std::unique_ptr<SequenceRecommender> model() const {
    const int64_t D = reader.tensor("param.embedding.weight").shape[1];
    const ModelOptions options = ModelOptions::from(
        Config::parse(fmt::format("{{backbone: srgnn, embed_dim: {}, dropout: 0}}", D)), "paper");
    auto made = std::make_unique<SequenceRecommender>(
        SequenceData{.item_rows = item_rows(), .items = item_rows() - 1, .history_length = 20},
        options, FrozenTables{}, 1);
    static const std::map<std::string, std::string> kNames = {
        {"tables.item_id", "embedding.weight"},
        {"backbone.edge_in.weight", "gnn.linear_edge_in.weight"},
        {"backbone.edge_in.bias", "gnn.linear_edge_in.bias"},
        {"backbone.edge_out.weight", "gnn.linear_edge_out.weight"},
        {"backbone.edge_out.bias", "gnn.linear_edge_out.bias"},
        {"backbone.bias_in", "gnn.b_iah"},
        {"backbone.bias_out", "gnn.b_oah"},
        {"backbone.input.weight", "gnn.w_ih"},
        {"backbone.input.bias", "gnn.b_ih"},
        {"backbone.hidden.weight", "gnn.w_hh"},
        {"backbone.hidden.bias", "gnn.b_hh"},
        {"backbone.last.weight", "linear_one.weight"},
        {"backbone.last.bias", "linear_one.bias"},
        {"backbone.each.weight", "linear_two.weight"},
        {"backbone.each.bias", "linear_two.bias"},
        {"backbone.score.weight", "linear_three.weight"},
        {"backbone.readout.weight", "linear_transform.weight"},
        {"backbone.readout.bias", "linear_transform.bias"}};
    const torch::NoGradGuard no_gradients;
    made->load_state([&](const nn::NamedTensor& entry) {
      entry.second.copy_(floats("param." + kNames.at(entry.first)));
    });
    return made;
  }

  SafetensorsReader reader;
  std::vector<int64_t> sessions;
  int64_t width;
};

class GoldenSrgnn : public ::testing::TestWithParam<std::filesystem::path> {};

// The recording's adjacency is dense and by ascending item, padding included; ours by first
// appearance.
TEST_P(GoldenSrgnn, GraphsMeetTheRecording) {
  const SrgnnRecording golden(GetParam());
  const SequenceBatch batch = golden.batch();
  const torch::Tensor adjacency = golden.floats("out.adjacency");
  const auto unique = testing::values_of<int64_t>(golden.reader, "out.unique_items");
  const int64_t n = golden.width;
  for (int64_t s = 0; s < golden.count(); ++s) {
    const auto row_of = [&](int32_t node) {
      const int64_t item = batch.graphs.items[static_cast<size_t>(node)];
      for (int64_t i = 0; i < n; ++i)
        if (unique[static_cast<size_t>(s * n + i)] == item) return i;
      return int64_t{-1};
    };
    torch::Tensor ours = at::zeros({n, 2 * n});
    for (int32_t node = batch.graphs.node_offsets[static_cast<size_t>(s)];
         node < batch.graphs.node_offsets[static_cast<size_t>(s) + 1]; ++node) {
      int64_t column = 0;
      for (const GraphEdges* edges : {&batch.graphs.incoming, &batch.graphs.outgoing}) {
        for (auto e = static_cast<size_t>(edges->offsets[static_cast<size_t>(node)]);
             e < static_cast<size_t>(edges->offsets[static_cast<size_t>(node) + 1]); ++e)
          ours[row_of(node)][column + row_of(edges->nodes[e])] = edges->weights[e];
        column += n;
      }
    }
    testing::expect_outputs_near(ours, adjacency[s], "adjacency");
  }
}

TEST_P(GoldenSrgnn, ScoresMeetTheRecording) {
  const torch::NoGradGuard no_gradients;
  const SrgnnRecording golden(GetParam());
  const auto model = golden.model();
  model->eval();
  const SequenceBatch batch = golden.batch();
  const torch::Tensor items = model->item_vectors().narrow(0, 1, golden.item_rows() - 1);
  testing::expect_outputs_near(at::mm(model->forward(batch).state, items.t()),
                               golden.floats("out.scores"), "out.scores");
}

TEST_P(GoldenSrgnn, SessionsRepeatItems) {
  const SrgnnRecording golden(GetParam());
  bool repeats = false;
  for (int64_t s = 0; s < golden.count(); ++s) {
    const auto items = golden.session(s);
    repeats |= std::set<int32_t>(items.begin(), items.end()).size() < items.size();
  }
  EXPECT_TRUE(repeats) << "the recording does not test what it is for";
}

std::vector<std::filesystem::path> cases() {
  auto paths = testing::recordings("retrieval");
  std::erase_if(paths, [](const auto& path) { return !path.stem().string().starts_with("SRGNN"); });
  return paths;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldenSrgnn);
INSTANTIATE_TEST_SUITE_P(Recorded, GoldenSrgnn, ::testing::ValuesIn(cases()),
                         [](const auto& entry) {
                           std::string name = entry.param.stem().string();
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(GoldenSrgnnFolder, Exists) {
  LLMCF_REQUIRE_PATH(llmcf::testing::golden_directory() / "retrieval");
  EXPECT_FALSE(cases().empty());
}

}  // namespace
}  // namespace llmcf::models
