// The four terms of a score; every distinct text of a batch is encoded once.
#include "cot/scoring.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "core/error.h"
#include "core/strings.h"

namespace llmcf::cot {

namespace {

constexpr std::array<std::string_view, 4> kAspects = {
    "The past choices show a profile: what this person likes, which brands and categories they "
    "return to.",
    "The new item aligns with the profile in some attributes and differs from it in others.",
    "This person looks for diversity and new things, or stays with the familiar.",
    "Popularity and position may have influenced the choice apart from any preference."};

// Distinct texts of a batch, encoded once.
class TextVectors {
 public:
  size_t add(std::string_view text) {
    const auto [entry, is_new] = ids_.emplace(text, texts_.size());
    if (is_new) texts_.push_back(text);
    return entry->second;
  }
  void encode(const text::Encoder& encoder) {
    width_ = static_cast<size_t>(encoder.dim());
    values_.resize(texts_.size() * width_);
    if (!texts_.empty()) encoder.encode(texts_, values_);
  }
  // Cosine of two texts (vectors have unit length or are zero), 0 if negative.
  double cosine(size_t first, size_t second) const {
    const float* a = values_.data() + first * width_;
    const float* b = values_.data() + second * width_;
    double sum = 0;
    for (size_t index = 0; index < width_; ++index)
      sum += static_cast<double>(a[index]) * static_cast<double>(b[index]);
    return std::clamp(sum, 0.0, 1.0);
  }

 private:
  std::unordered_map<std::string_view, size_t> ids_;
  std::vector<std::string_view> texts_;
  std::vector<float> values_;
  size_t width_ = 0;
};

// What one answer is compared with: indices into TextVectors.
struct Ids {
  size_t text = 0, input = 0, outcome = 0;
  std::vector<size_t> sentences;
};

int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

std::string refusal(std::string_view text, const ScoringOptions& options) {
  if (code_points(trim(text)) < options.min_chars) return "too_short";
  if (text.find("[INST]") != std::string_view::npos) return "prompt_echo";
  return "";
}

// 1 - occurrences of words said before / words.
double freshness(std::string_view text) {
  std::unordered_set<std::string> seen;
  int64_t words = 0;
  int64_t repeated = 0;
  std::string word;
  const auto finish_word = [&] {
    if (word.empty()) return;
    ++words;
    repeated += seen.insert(word).second ? 0 : 1;
    word.clear();
  };
  for (const char c : text) {
    const bool part = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      (static_cast<unsigned char>(c) & 0x80) != 0;
    if (part)
      word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    else
      finish_word();
  }
  finish_word();
  return words == 0 ? 0.0 : 1.0 - static_cast<double>(repeated) / static_cast<double>(words);
}

double flow(const TextVectors& vectors, const std::vector<size_t>& sentence_ids) {
  if (sentence_ids.size() < 2) return 0.0;
  double sum = 0;
  for (size_t index = 1; index < sentence_ids.size(); ++index)
    sum += vectors.cosine(sentence_ids[index - 1], sentence_ids[index]);
  return sum / static_cast<double>(sentence_ids.size() - 1);
}

Scores score(const ScoringInput& input, const Ids& ids, std::span<const size_t> aspects,
             const TextVectors& vectors, const ScoringOptions& options) {
  Scores scores;
  scores.coherence = 0.5 * (flow(vectors, ids.sentences) + freshness(input.text));
  for (const size_t aspect : aspects)
    scores.completeness += vectors.cosine(ids.text, aspect) / static_cast<double>(aspects.size());
  scores.relevance = vectors.cosine(ids.text, ids.input);
  scores.consistency = vectors.cosine(ids.text, ids.outcome);
  const double weight =
      options.coherence + options.completeness + options.relevance + options.consistency;
  scores.total =
      (options.coherence * scores.coherence + options.completeness * scores.completeness +
       options.relevance * scores.relevance + options.consistency * scores.consistency) /
      weight;
  return scores;
}

}  // namespace

ScoringOptions ScoringOptions::from(const Config& section) {
  ScoringOptions options;
  options.coherence = section.get_number("coherence", options.coherence, 0, 1e6);
  options.completeness = section.get_number("completeness", options.completeness, 0, 1e6);
  options.relevance = section.get_number("relevance", options.relevance, 0, 1e6);
  options.consistency = section.get_number("consistency", options.consistency, 0, 1e6);
  options.min_chars = section.get_int("min_chars", options.min_chars, 1, 1'000'000);
  options.min_score = section.get_number("min_score", options.min_score, 0, 1);
  if (options.coherence + options.completeness + options.relevance + options.consistency <= 0)
    section.fail("coherence", "all four weights are 0; at least one must be positive");
  section.finish();
  return options;
}

std::vector<std::string_view> sentences(std::string_view text) {
  std::vector<std::string_view> found;
  size_t begin = 0;
  for (size_t index = 0; index < text.size(); ++index) {
    const char c = text[index];
    const bool at_end = index + 1 == text.size();
    const bool before_space = !at_end && (text[index + 1] == ' ' || text[index + 1] == '\n');
    const bool stop = (c == '.' || c == '!' || c == '?') && (at_end || before_space);
    if (!stop && c != '\n' && !at_end) continue;
    const std::string_view sentence = trim(text.substr(begin, index + 1 - begin));
    if (!sentence.empty()) found.push_back(sentence);
    begin = index + 1;
  }
  return found;
}

std::span<const std::string_view> aspect_sentences() {
  return kAspects;
}

std::string outcome_sentence(bool chosen, std::string_view item_text) {
  return fmt::format("The person {} the item {}", chosen ? "chose" : "did not choose", item_text);
}

std::vector<Judgement> judge(std::span<const ScoringInput> inputs, const text::Encoder& encoder,
                             const ScoringOptions& options) {
  std::vector<Judgement> judgements(inputs.size());
  std::vector<Ids> ids(inputs.size());
  TextVectors vectors;
  std::vector<size_t> aspects;
  for (const std::string_view aspect : kAspects)
    aspects.push_back(vectors.add(aspect));
  for (size_t index = 0; index < inputs.size(); ++index) {
    judgements[index].reason = refusal(inputs[index].text, options);
    if (!judgements[index].reason.empty()) continue;
    ids[index] = {.text = vectors.add(inputs[index].text),
                  .input = vectors.add(inputs[index].input),
                  .outcome = vectors.add(inputs[index].outcome),
                  .sentences = {}};
    for (const std::string_view sentence : sentences(inputs[index].text))
      ids[index].sentences.push_back(vectors.add(sentence));
  }
  vectors.encode(encoder);
  for (size_t index = 0; index < inputs.size(); ++index) {
    Judgement& judgement = judgements[index];
    if (!judgement.reason.empty()) continue;
    judgement.scores = score(inputs[index], ids[index], aspects, vectors, options);
    judgement.accepted = judgement.scores.total >= options.min_score;
    if (!judgement.accepted) judgement.reason = "low_score";
  }
  return judgements;
}

}  // namespace llmcf::cot
