// The search from static lists against retrieval::Searcher over the same vectors: same ids, same
// order, same scores, however short the lists are.
#include "serve/example_search.h"

#include <limits>

#include <gtest/gtest.h>

#include "core/files.h"
#include "retrieval/history_vectors.h"
#include "retrieval/searcher.h"
#include "serve/toy_bundle.h"

namespace llmcf::serve {
namespace {

struct Opened {
  explicit Opened(const ToyOptions& options) {
    write_toy_bundle(options, directory.path() / "toy.bundle");
    bundle = std::make_shared<const Bundle>(directory.path() / "toy.bundle");
  }
  TemporaryDirectory directory;
  std::shared_ptr<const Bundle> bundle;
};

retrieval::Searcher reference(const Bundle& bundle, int64_t fold, std::vector<float>& labels) {
  const BundleSpec& spec = bundle.spec();
  for (const int32_t label : bundle.examples().label)
    labels.push_back(static_cast<float>(label));
  const retrieval::Texts texts{
      .item_text = bundle.reader().get<float>("retrieval.items." + std::to_string(fold)),
      .width = spec.retrieval_width};
  const Examples& examples = bundle.examples();
  return retrieval::Searcher(
      {.user = examples.user,
       .item = examples.item,
       .position = examples.position,
       .label = labels,
       .time = examples.time},
      texts,
      [&bundle](int32_t user, int32_t position) {
        return bundle.history(user).first(static_cast<size_t>(position));
      },
      spec.retrieval);
}

void expect_equal(const Bundle& bundle, SearchCost& cost) {
  const auto shared = std::shared_ptr<const Bundle>(&bundle, [](const Bundle*) {});
  const Catalogue catalogue(shared);
  const ExampleSearch search(bundle);
  const BundleSpec& spec = bundle.spec();
  std::vector<int32_t> candidates;
  for (int32_t item = 1; item <= spec.items; ++item)
    candidates.push_back(item);
  ScratchArena arena;
  for (int64_t fold = 0; fold < spec.folds; ++fold) {
    std::vector<float> labels;
    const retrieval::Searcher expected = reference(bundle, fold, labels);
    for (int32_t user = 0; user <= std::min<int64_t>(spec.users, 24); ++user) {
      if (search.fold_of(user) != fold) continue;
      arena.reset();
      const auto history = bundle.history(user);
      std::vector<float> vector(static_cast<size_t>(spec.retrieval_width));
      search.history_vector(catalogue, fold, history, vector.data());
      // The reference scales to unit length itself.
      std::vector<float> mean(vector.size());
      const std::vector<int32_t> one = {user}, length = {static_cast<int32_t>(history.size())};
      retrieval::history_mean(
          [&](int32_t, int32_t) { return history; },
          {.item_text = bundle.reader().get<float>("retrieval.items." + std::to_string(fold)),
           .width = spec.retrieval_width},
          one, length, 0, mean);
      Slots slots = Slots::make(static_cast<int64_t>(candidates.size()), spec.retrieval.k, arena);
      search.search(catalogue, fold, vector.data(), candidates, arena, slots, &cost);
      const retrieval::Assignment wanted =
          expected.search({.user = user,
                           .position = std::numeric_limits<int32_t>::max(),
                           .time = std::numeric_limits<int64_t>::max(),
                           .history = mean},
                          candidates);
      for (size_t at = 0; at < wanted.ids.size(); ++at) {
        ASSERT_EQ(slots.ids[at], wanted.ids[at]) << "user " << user << " slot " << at;
        ASSERT_EQ(slots.similarity[at], wanted.similarity[at]);
        ASSERT_NEAR(slots.history_similarity[at], wanted.history_similarity[at], 1e-5);
        ASSERT_NEAR(slots.target_similarity[at], wanted.target_similarity[at], 1e-5);
      }
      for (size_t i = 0; i < candidates.size(); ++i)
        ASSERT_EQ(slots.alignment[i], wanted.alignment[i]);
    }
  }
}

TEST(ExampleSearch, EqualsTheSearcherWhateverTheListsHold) {
  for (const int64_t neighbours : {1, 5, 16, 1000}) {
    const Opened toy({.neighbours = neighbours});
    SearchCost cost;
    expect_equal(*toy.bundle, cost);
    if (neighbours == 1000) {
      EXPECT_EQ(cost.open_after_lists, 0);
    }
    if (neighbours == 1) {
      EXPECT_GT(cost.products, 0);
    }
  }
}

TEST(ExampleSearch, EqualsTheSearcherOverALargerPool) {
  const Opened toy({.users = 200,
                    .items = 700,
                    .examples = 4000,
                    .clusters = 40,
                    .text_width = 24,
                    .k = 5,
                    .neighbours = 64});
  SearchCost cost;
  expect_equal(*toy.bundle, cost);
}

TEST(ExampleSearch, FewerExamplesThanSlotsLeaveMaskedOnesInFront) {
  const Opened toy({.examples = 3, .k = 8});
  SearchCost cost;
  expect_equal(*toy.bundle, cost);
  const ExampleSearch search(*toy.bundle);
  const Catalogue catalogue(toy.bundle);
  ScratchArena arena;
  const std::vector<int32_t> candidates = {4};
  Slots slots = Slots::make(1, 8, arena);
  const std::vector<float> nobody(static_cast<size_t>(toy.bundle->spec().retrieval_width));
  search.search(catalogue, 0, nobody.data(), candidates, arena, slots);
  for (int64_t k = 0; k < 5; ++k)
    EXPECT_EQ(slots.ids[k], -1);
  for (int64_t k = 5; k < 8; ++k)
    EXPECT_GE(slots.ids[k], 0);
}

TEST(ExampleSearch, ListsMadeLaterAreThoseOfTheBundle) {
  const Opened toy({.neighbours = 1000});
  const ExampleSearch search(*toy.bundle);
  const Catalogue catalogue(toy.bundle);
  const auto width = static_cast<size_t>(toy.bundle->spec().retrieval_width);
  std::vector<std::vector<float>> vectors;
  for (int64_t fold = 0; fold < toy.bundle->spec().folds; ++fold)
    vectors.emplace_back(catalogue.vector(fold, 9), catalogue.vector(fold, 9) + width);
  const auto lists = search.lists_for(vectors);
  for (int64_t fold = 0; fold < toy.bundle->spec().folds; ++fold)
    for (int label = 0; label < 2; ++label) {
      const Neighbours known = catalogue.neighbours(fold, label, 9);
      const AddedItem::List& made = lists[static_cast<size_t>(fold * 2 + label)];
      const auto length = static_cast<int64_t>(made.similarity.size());
      ASSERT_EQ(length, known.length);
      for (int64_t i = 0; i < length; ++i)
        ASSERT_EQ(made.similarity[static_cast<size_t>(i)],
                  known.similarities_from(i)[i % Neighbours::kPart]);
    }
}

}  // namespace
}  // namespace llmcf::serve
