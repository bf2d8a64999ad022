// Figures of room text:
//   text.lsa.fit           seconds to fit LSA-256 on 100,000 generated catalogue texts
//   text.lsa.fit_rate      the same as texts/s
//   text.lsa.encode        texts/s of the fitted encoder
//   text.model2vec.encode  texts/s; only where LLMCF_SHARED (or ../shared) has the encoder
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "core/random.h"
#include "core/threads.h"
#include "text/lsa.h"
#include "text/model2vec.h"

namespace {

using llmcf::bench::report;
using llmcf::bench::seconds;
using llmcf::bench::wanted;

// A word of 3 to 10 letters that depends on its number only.
std::string word(uint64_t number) {
  llmcf::Random random(number, "bench.word");
  const char* const syllables[] = {"ba", "cre", "lo", "ni",  "sha", "mpoo", "ta", "ver",
                                   "mo", "ist", "pu", "gel", "kin", "ro",   "se", "dy"};
  std::string text;
  for (uint64_t left = 2 + random.below(3); left > 0; --left)
    text += syllables[random.below(16)];
  return text + static_cast<char>('a' + number % 26);
}

// Titles, brands and category paths: words with a Zipf-like distribution over topics.
std::vector<std::string> catalogue(int64_t count) {
  constexpr uint64_t kWords = 40'000;
  std::vector<std::string> words;
  for (uint64_t number = 0; number < kWords; ++number)
    words.push_back(word(number));
  llmcf::Random random(1, "bench.catalogue");
  std::vector<std::string> texts;
  for (int64_t at = 0; at < count; ++at) {
    const uint64_t topic = random.below(200);
    std::string text;
    for (uint64_t left = 8 + random.below(10); left > 0; --left) {
      const double skewed = random.uniform() * random.uniform() * random.uniform();
      const auto rank = static_cast<uint64_t>(skewed * 4000.0);
      const bool of_topic = random.uniform() < 0.5;
      text += words[of_topic ? (topic * 190 + rank / 10) % kWords : rank * 10 % kWords] + " ";
    }
    texts.push_back(text + "brand" + std::to_string(random.below(5000)));
  }
  return texts;
}

void lsa() {
  constexpr int64_t kTexts = 100'000;
  const std::vector<std::string> texts = catalogue(kTexts);
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<llmcf::text::Lsa> fitted;
  const double fit = seconds([&] { fitted.push_back(llmcf::text::Lsa::fit(views, {})); });
  report("text.lsa.fit", fit, "s");
  report("text.lsa.fit_rate", kTexts / fit, "texts/s");
  std::fprintf(stderr, "text.lsa: %d threads, %lld features, peak memory %.0f MiB\n",
               llmcf::thread_count(), static_cast<long long>(fitted[0].features()),
               llmcf::bench::peak_memory_mib());
  if (!wanted("text.lsa.encode")) return;
  std::vector<float> out(texts.size() * 256);
  const double encode = llmcf::bench::median_seconds(3, [&] { fitted[0].encode(views, out); });
  report("text.lsa.encode", kTexts / encode, "texts/s");
}

void model2vec() {
  const char* shared = std::getenv("LLMCF_SHARED");
  const std::filesystem::path directory =
      std::filesystem::path(shared != nullptr ? shared : "../shared") /
      "data/encoders/model2vec-vocab-quantized";
  if (!std::filesystem::exists(directory)) return;
  const llmcf::text::Model2Vec model = llmcf::text::Model2Vec::load(directory);
  constexpr int64_t kTexts = 20'000;
  const std::vector<std::string> texts = catalogue(kTexts);
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<float> out(texts.size() * static_cast<size_t>(model.dim()));
  const double encode = llmcf::bench::median_seconds(3, [&] { model.encode(views, out); });
  report("text.model2vec.encode", kTexts / encode, "texts/s");
}

}  // namespace

int main(int argc, char** argv) {
  llmcf::bench::init(argc, argv);
  if (wanted("text.lsa")) lsa();
  if (wanted("text.model2vec")) model2vec();
  return 0;
}
