// See teacher.h.
#include "cot/teacher.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"
#include "core/threads.h"
#include "cot/template_reasoner.h"

namespace llmcf::cot {

namespace {

constexpr const char* kFormat = "llmcf.teacher/1";
constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

std::string tensor_name(data::Split split) {
  return fmt::format("logits.{}", data::split_name(split));
}

// Which rows of a split have a teacher: a function of the seed, the share and each row alone.
std::vector<uint8_t> taught_rows(const data::Dataset& dataset, const data::Rows& rows, double share,
                                 int64_t seed) {
  std::vector<uint8_t> taught(rows.user.size(), share >= 1 ? 1 : 0);
  if (share >= 1 || share <= 0) return taught;
  parallel_for(rows.size(), 4096, [&](int64_t begin, int64_t end) {
    for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
      const std::string key =
          fmt::format("cot.teach\n{}\n{}\n{}", dataset.user_name(rows.user[row]),
                      rows.position[row], dataset.item_name(rows.item[row]));
      taught[row] = Random(static_cast<uint64_t>(seed), key).uniform() < share ? 1 : 0;
    }
  });
  return taught;
}

double share_of(data::Split split, const TeachOptions& options) {
  return split == data::Split::kTrain ? options.share : options.measure_share;
}

// logit(P(label)) = scale * score + offset, by Newton's method; a weak ridge keeps it finite.
struct Calibration {
  double scale = 0;
  double offset = 0;
};

Calibration calibrate(const std::vector<float>& scores, std::span<const float> labels) {
  constexpr double kRidge = 1e-3;
  constexpr int kSteps = 25;
  Calibration fit;
  for (int step = 0; step < kSteps; ++step) {
    double g0 = kRidge * fit.offset, g1 = kRidge * fit.scale;
    double h00 = kRidge, h01 = 0, h11 = kRidge;
    for (size_t row = 0; row < scores.size(); ++row) {
      if (std::isnan(scores[row])) continue;
      const double x = scores[row];
      const double p = 1 / (1 + std::exp(-(fit.scale * x + fit.offset)));
      g0 += p - labels[row];
      g1 += (p - labels[row]) * x;
      h00 += p * (1 - p);
      h01 += p * (1 - p) * x;
      h11 += p * (1 - p) * x * x;
    }
    const double determinant = h00 * h11 - h01 * h01;
    fit.offset -= (h11 * g0 - h01 * g1) / determinant;
    fit.scale -= (h00 * g1 - h01 * g0) / determinant;
  }
  return fit;
}

// Alignment of every taught row of a split, NaN for the others.
std::vector<float> alignments(const data::Dataset& dataset, const data::Rows& rows,
                              const RowResolver& resolver, double share,
                              const TeachOptions& options, int64_t max_history) {
  const auto taught = taught_rows(dataset, rows, share, options.seed);
  std::vector<float> scores(rows.user.size(), kNone);
  parallel_for(rows.size(), 256, [&](int64_t begin, int64_t end) {
    for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
      if (taught[row] == 0) continue;
      scores[row] = static_cast<float>(attribute_alignment(
          resolver.facts(rows.user[row], rows.position[row], rows.item[row], max_history)));
    }
  });
  return scores;
}

// The pair handed on for log-probabilities (or logits) of Yes and No.
std::array<float, 2> handed_on(double yes, double no, bool double_softmax) {
  if (!double_softmax) return {static_cast<float>(yes), static_cast<float>(no)};
  const double p = std::exp(yes), q = std::exp(no);
  const double squeezed = 1 / (1 + std::exp(q - p));
  return {static_cast<float>(squeezed), static_cast<float>(1 - squeezed)};
}

}  // namespace

TeachOptions TeachOptions::from(const Config& teach, bool asks) {
  TeachOptions options;
  options.share = teach.get_number("share", asks ? 0.1 : 1, 0, 1);
  options.measure_share = teach.get_number("measure_share", asks ? 0 : 1, 0, 1);
  options.seed = teach.get<int64_t>("seed", options.seed);
  options.double_softmax = teach.get<bool>("double_softmax", options.double_softmax);
  return options;
}

std::vector<KnowledgeJob> teach_jobs(const data::Dataset& dataset, const data::RowSet& rows,
                                     const TeachOptions& options, int64_t max_history) {
  std::vector<KnowledgeJob> jobs;
  for (const data::Split split : data::kAllSplits) {
    const data::Rows& part = rows.rows(split);
    const auto taught = taught_rows(dataset, part, share_of(split, options), options.seed);
    for (size_t row = 0; row < taught.size(); ++row) {
      if (taught[row] == 0) continue;
      jobs.push_back({.user = std::string(dataset.user_name(part.user[row])),
                      .position = part.position[row],
                      .item = std::string(dataset.item_name(part.item[row])),
                      .input = shown_hash(dataset, rows.history(part.user[row], part.position[row]),
                                          part.item[row], max_history)});
    }
  }
  return jobs;
}

TeacherScores template_scores(const data::Dataset& dataset, const data::RowSet& rows,
                              const TeachOptions& options, int64_t max_history) {
  const RowResolver resolver(dataset, rows);
  TeacherScores scores{.source = kTemplateTeacher, .logits = {}};
  Calibration fit;
  for (const data::Split split : data::kAllSplits) {
    const data::Rows& part = rows.rows(split);
    const auto fits =
        alignments(dataset, part, resolver, share_of(split, options), options, max_history);
    if (split == data::Split::kTrain) fit = calibrate(fits, part.label);
    std::vector<float>& logits = scores.logits[static_cast<size_t>(split)];
    for (const float alignment : fits) {
      const double margin = fit.scale * alignment + fit.offset;
      const auto log_sigmoid = [](double x) {
        return std::min(x, 0.0) - std::log1p(std::exp(-std::abs(x)));
      };
      const auto pair = std::isnan(alignment) ? std::array<float, 2>{kNone, kNone}
                                              : handed_on(log_sigmoid(margin), log_sigmoid(-margin),
                                                          options.double_softmax);
      logits.insert(logits.end(), pair.begin(), pair.end());
    }
  }
  return scores;
}

TeacherScores pool_scores(Pool& pool, const data::Dataset& dataset, const data::RowSet& rows,
                          const TeachOptions& options) {
  const auto texts = KnowledgePool(pool, JobKind::kTeach).current();
  const auto key_of = [](std::string_view user, int32_t position, std::string_view item) {
    return fmt::format("{}\n{}\n{}", user, position, item);
  };
  std::unordered_map<std::string, YesNo> verdicts;
  TeacherScores scores;
  for (const KnowledgeText& text : texts) {
    scores.source = text.reasoner;
    if (text.verdict)
      verdicts.emplace(key_of(text.job.user, text.job.position, text.job.item), *text.verdict);
  }
  for (const data::Split split : data::kAllSplits) {
    const data::Rows& part = rows.rows(split);
    std::vector<float>& logits = scores.logits[static_cast<size_t>(split)];
    for (size_t row = 0; row < part.user.size(); ++row) {
      const auto found = verdicts.find(key_of(dataset.user_name(part.user[row]), part.position[row],
                                              dataset.item_name(part.item[row])));
      const auto pair = found == verdicts.end() ? std::array<float, 2>{kNone, kNone}
                                                : handed_on(found->second.yes, found->second.no,
                                                            options.double_softmax);
      logits.insert(logits.end(), pair.begin(), pair.end());
    }
  }
  return scores;
}

void save_teacher(const TeacherScores& scores, const std::map<std::string, std::string>& notes,
                  const std::filesystem::path& path) {
  SafetensorsWriter writer;
  writer.set_metadata("format", kFormat);
  writer.set_metadata("source", scores.source);
  for (const auto& [key, value] : notes)
    writer.set_metadata(key, value);
  for (const data::Split split : data::kAllSplits) {
    const std::vector<float>& logits = scores.logits[static_cast<size_t>(split)];
    writer.add<float>(tensor_name(split), {static_cast<int64_t>(logits.size() / 2), 2}, logits);
  }
  writer.write(path);
}

TeacherSet::TeacherSet(const std::filesystem::path& path)
    : reader_(std::make_unique<SafetensorsReader>(path)) {
  if (const std::string& format = reader_->metadata("format"); format != kFormat)
    throw InputError(path.string(), 0,
                     fmt::format("expected format {}, found {}", kFormat, format));
}

std::span<const float> TeacherSet::logits(data::Split split) const {
  return reader_->get<float>(tensor_name(split), {-1, 2});
}

void TeacherSet::check_teaches() const {
  const auto train = logits(data::Split::kTrain);
  if (!std::all_of(train.begin(), train.end(), [](float logit) { return std::isnan(logit); }))
    return;
  throw Error(fmt::format(
      "{}: no training row has a teacher's score, so there is nothing to distil; raise "
      "reason.budget or teach.share, or see `llmcf pool show` for what the teacher said",
      reader_->path().string()));
}

}  // namespace llmcf::cot
