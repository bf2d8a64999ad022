// How a model is held against a recording: outputs, gradients and five Adam steps, within the
// tolerances of golden/README.md. A recorded tensor that is compared with nothing is a failure.
#pragma once

#include <algorithm>
#include <filesystem>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <gtest/gtest.h>

#include "models/golden_recording.h"
#include "models/objective.h"
#include "models/tabled_model.h"
#include "nn/optimizer.h"
#include "shared_data.h"

namespace llmcf::models::testing {

inline void expect_outputs_near(const torch::Tensor& a, const torch::Tensor& b,
                                const std::string& what) {
  ASSERT_EQ(a.numel(), b.numel()) << what;
  const torch::Tensor flat = b.flatten();
  const torch::Tensor allowed = 5e-5 * flat.abs().clamp_min(1);
  EXPECT_TRUE(((a.flatten() - flat).abs() <= allowed).all().item<bool>())
      << what << " is off by " << (a.flatten() - flat).abs().max().item<double>();
}

inline void expect_gradient_near(const torch::Tensor& a, const torch::Tensor& b,
                                 const std::string& what) {
  ASSERT_EQ(a.sizes(), b.sizes()) << what;
  const double allowed = 1e-4 * std::max(1.0, b.abs().max().item<double>());
  EXPECT_LE((a - b).abs().max().item<double>(), allowed) << what;
}

// Names of the recording that begin with `prefix` and are not in `compared`.
inline std::vector<std::string> left_over(const GoldenRecording& golden, const std::string& prefix,
                                          const std::set<std::string>& compared) {
  std::vector<std::string> names;
  for (const auto& [name, view] : golden.reader().tensors())
    if (name.starts_with(prefix) && !compared.contains(name)) names.push_back(name);
  return names;
}

// The recordings of a folder, sorted; none if it is not there.
inline std::vector<std::filesystem::path> recordings(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  const auto directory = llmcf::testing::golden_directory() / folder;
  if (!std::filesystem::exists(directory)) return paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Slab gradients spread over the dense shape of their table.
inline torch::Tensor dense_gradient(const nn::SlabGradient& slab, int64_t rows) {
  torch::Tensor dense = at::zeros({rows, slab.slab.size(1)});
  for (size_t i = 0; i < slab.rows->size(); ++i)
    dense[(*slab.rows)[i]] = slab.slab.grad()[static_cast<int64_t>(i)];
  return dense;
}

// Linear biases in front of a batch norm have no true gradient; Adam amplifies its noise. So has
// the key third of an attention's in_proj_bias. Neither counts.
inline torch::Tensor that_counts(const std::string& recorded, bool batch_norm,
                                 const torch::Tensor& values) {
  static const std::regex entry("final\\.mlp_layers\\.mlp_layers\\.(\\d+)\\.bias");
  std::smatch found;
  if (batch_norm && std::regex_match(recorded, found, entry) && std::stoi(found[1]) % 4 == 1)
    return values.narrow(0, 0, 0);
  if (!recorded.ends_with("in_proj_bias")) return values;
  const int64_t third = values.size(0) / 3;
  return at::cat({values.narrow(0, 0, third), values.narrow(0, 2 * third, third)});
}

// A model with the recorded parameters. Golden has recorded(name, tensor) -> RecordedViews.
template <typename Golden, typename Model, typename ModelBatch>
struct Replica {
  Replica(const Golden& recording, std::unique_ptr<Model> made, ModelBatch of)
      : golden(recording), model(std::move(made)), batch(std::move(of)) {
    const torch::NoGradGuard no_gradients;
    model->load_state([&](const nn::NamedTensor& entry) {
      for (const RecordedView& part : golden.recorded(entry.first, entry.second)) {
        const bool parameter = golden.has("param." + part.name);
        const std::string recorded = (parameter ? "param." : "buffer.") + part.name;
        part.view.copy_(golden.tensor(recorded).reshape(part.view.sizes()));
        loaded.insert(recorded);
      }
    });
  }

  // But for what the public code registers and does not train (frozen tables, a transformer that
  // the variant does not run): that has no recorded gradient.
  void expect_all_loaded() const {
    EXPECT_EQ(left_over(golden, "buffer.", loaded), std::vector<std::string>());
    for (const std::string& name : left_over(golden, "param.", loaded))
      EXPECT_FALSE(golden.has("grad." + name.substr(6))) << name;
  }

  void expect_gradients() {
    model->train();
    model->loss(batch).total.backward();
    std::set<std::string> compared;
    const auto compare = [&](const std::string& name, const torch::Tensor& gradient) {
      for (const RecordedView& part : golden.recorded(name, gradient)) {
        const std::string recorded = "grad." + part.name;
        ASSERT_TRUE(golden.has(recorded)) << name;
        expect_gradient_near(part.view, golden.tensor(recorded).reshape(part.view.sizes()), name);
        compared.insert(recorded);
      }
    };
    for (const auto& [name, parameter] : model->dense_parameters()) {
      ASSERT_TRUE(parameter.grad().defined()) << name;
      compare(name, parameter.grad());
    }
    const auto tables = model->tables();
    for (size_t t = 0; t < tables.size(); ++t) {
      const nn::EmbeddingTable& table = *tables[t];
      const torch::Tensor dense = dense_gradient(model->slab_gradients()[t], table.rows());
      compare("tables." + table.name(), dense.narrow(1, 0, table.dim()));
      if (table.has_first_order())
        compare("first_order." + table.name(), dense.narrow(1, table.dim(), 1));
    }
    EXPECT_EQ(left_over(golden, "grad.", compared), std::vector<std::string>());
  }

  void expect_steps() {
    model->train();
    nn::Optimizer optimizer(golden.optimizer(), model->dense_parameters(), model->tables());
    std::vector<float> losses;
    for (int64_t step = 0; step < golden.steps(); ++step) {
      const Losses loss = model->loss(batch);
      losses.push_back(loss.total.template item<float>());
      loss.total.backward();
      optimizer.step(model->slab_gradients());
    }
    expect_outputs_near(at::from_blob(losses.data(), {golden.steps()}).clone(),
                        golden.tensor("train.loss"), "train.loss");
    optimizer.flush();
    expect_final();
  }

  void expect_final() {
    const double rate = golden.optimizer().learning_rate;
    int64_t elements = 0, near = 0;
    std::set<std::string> compared;
    for (const auto& [name, tensor] : model->state())
      for (const RecordedView& part : golden.recorded(name, tensor)) {
        const std::string recorded = "final." + part.name;
        if (!golden.has(recorded)) continue;  // a running statistic
        compared.insert(recorded);
        const auto counts = [&](const torch::Tensor& values) {
          return that_counts(recorded, golden.has_batch_norm(), values);
        };
        const torch::Tensor expected = counts(golden.tensor(recorded).reshape(part.view.sizes()));
        if (expected.numel() == 0) continue;
        const torch::Tensor distance = (counts(part.view) - expected).abs();
        elements += expected.numel();
        near += (distance <= 1e-4).sum().template item<int64_t>();
        EXPECT_LE(distance.max().template item<double>(), rate) << name;
      }
    EXPECT_GE(static_cast<double>(near), 0.999 * static_cast<double>(elements));
    // What did not train is what it was.
    for (const std::string& name : left_over(golden, "final.", compared)) {
      const std::string plain = name.substr(6);
      EXPECT_FALSE(golden.has("grad." + plain)) << name;
      EXPECT_TRUE(golden.tensor(name).equal(golden.tensor("param." + plain))) << name;
    }
  }

  const Golden& golden;
  std::unique_ptr<Model> model;
  ModelBatch batch;
  std::set<std::string> loaded;
};

}  // namespace llmcf::models::testing
