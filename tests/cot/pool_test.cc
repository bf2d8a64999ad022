// The pool: claims, versions, erasure, JSON lines.
#include "cot/pool.h"

#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/files.h"

namespace llmcf::cot {
namespace {

using ::testing::HasSubstr;

const Source kSource{.kind = "endpoint", .model = "m1", .prompt_hash = "p1", .settings = ""};
const Source kOther{.kind = "endpoint", .model = "m2", .prompt_hash = "p1", .settings = ""};

class PoolTest : public ::testing::Test {
 protected:
  std::filesystem::path path(const char* name = "pool.sqlite") const {
    return directory_.path() / name;
  }
  PoolOptions options() {
    return {.read_only = false, .clock = [this] { return ++now_; }};
  }
  static JobRow row(int number) {
    return {.user = "user-" + std::to_string(number / 2),
            .position = number,
            .item = "item-" + std::to_string(number),
            .label = number % 2 == 0 ? 1.0F : 0.0F,
            .time = 1000 + number};
  }
  static std::vector<JobRow> rows(int count) {
    std::vector<JobRow> made;
    for (int number = 0; number < count; ++number)
      made.push_back(row(number));
    return made;
  }
  static NewAnswer answer(int64_t job, int64_t candidate, const std::string& text) {
    return {.job = job, .candidate = candidate, .text = text, .finish_reason = "stop"};
  }
  // Answers everything that is pending with one candidate and accepts it with `score`.
  static void answer_all(Pool& pool, const std::string& text, double score = 0.5) {
    for (const Claim& claim : pool.claim(1000)) {
      const int64_t ledger = pool.begin_request(claim.job, {});
      pool.store(std::vector{answer(claim.job, claim.stored, text)}, ledger,
                 {.prompt_tokens = 10, .completion_tokens = 5, .money = 0.25}, 3);
    }
    accept_all(pool, score);
  }
  static void accept_all(Pool& pool, double score) {
    for (const auto& [stored, job] : pool.unscored(1000))
      pool.set_verdicts(
          std::vector{Verdict{.answer = stored.id, .scores = {.total = score}, .accepted = true}});
  }
  // Every byte of the pool's files.
  std::string bytes() const {
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path()))
      if (entry.path().filename().string().starts_with("pool.sqlite")) all += read_file(entry);
    return all;
  }

  TemporaryDirectory directory_;
  int64_t now_ = 0;
};

TEST_F(PoolTest, SamplingTwiceAddsNothing) {
  Pool pool(path(), options());
  EXPECT_EQ(pool.set_sample(rows(6), "d"), 6);
  EXPECT_EQ(pool.set_sample(rows(6), "d"), 0);
  EXPECT_EQ(pool.set_sample(rows(8), "d"), 2);
}

TEST_F(PoolTest, JobsOutsideTheSampleAreKeptButNotAsked) {
  Pool pool(path(), options());
  pool.set_sample(rows(6), "d");
  pool.set_sample(rows(2), "d");
  EXPECT_EQ(pool.adopt(kSource, 1, "prompt"), 2);
  EXPECT_EQ(pool.stats().inactive_jobs, 4);
}

TEST_F(PoolTest, ClaimsEachJobOnce) {
  Pool pool(path(), options());
  pool.set_sample(rows(5), "d");
  pool.adopt(kSource, 1, "prompt");
  EXPECT_EQ(pool.claim(3).size(), 3U);
  EXPECT_EQ(pool.claim(3).size(), 2U);
  EXPECT_TRUE(pool.claim(3).empty());
}

TEST_F(PoolTest, ClaimCarriesTheRow) {
  Pool pool(path(), options());
  pool.set_sample(rows(1), "d");
  pool.adopt(kSource, 1, "prompt");
  EXPECT_EQ(pool.claim(1)[0].row, row(0));
}

TEST_F(PoolTest, ReopenedPoolAsksOnlyForWhatIsMissing) {
  {
    Pool pool(path(), options());
    pool.set_sample(rows(4), "d");
    pool.adopt(kSource, 2, "prompt");
    const auto claims = pool.claim(3);
    // The first is answered in full, the second by half, the third not at all.
    pool.store(std::vector{answer(claims[0].job, 0, "a"), answer(claims[0].job, 1, "b")},
               pool.begin_request(claims[0].job, {}), {}, 1);
    pool.store(std::vector{answer(claims[1].job, 0, "c")}, pool.begin_request(claims[1].job, {}),
               {}, 1);
    pool.begin_request(claims[2].job, {.prompt_tokens = 7, .completion_tokens = 3, .money = 0.5});
  }
  Pool pool(path(), options());
  EXPECT_EQ(pool.adopt(kSource, 2, "prompt"), 3);
  const auto claims = pool.claim(10);
  ASSERT_EQ(claims.size(), 3U);
  EXPECT_EQ(claims[0].stored, 1);
  EXPECT_EQ(claims[1].stored, 0);
  // The interrupted request still counts in full.
  EXPECT_EQ(pool.spent(true).tokens(), 10);
  EXPECT_DOUBLE_EQ(pool.spent(true).money, 0.5);
  EXPECT_EQ(pool.spent(true).failed_requests, 1);
}

TEST_F(PoolTest, FailedJobsArePendingInTheNextRun) {
  Pool pool(path(), options());
  pool.set_sample(rows(1), "d");
  pool.adopt(kSource, 1, "prompt");
  pool.fail(pool.claim(1)[0].job, "timeout");
  EXPECT_TRUE(pool.claim(1).empty());
  EXPECT_EQ(pool.stats().jobs.at("failed"), 1);
  EXPECT_EQ(pool.adopt(kSource, 1, "prompt"), 1);
}

TEST_F(PoolTest, BestAcceptedCandidateIsTheAnswer) {
  Pool pool(path(), options());
  pool.set_sample(rows(1), "d");
  pool.adopt(kSource, 3, "prompt");
  const int64_t job = pool.claim(1)[0].job;
  pool.store_batch(
      std::vector{answer(job, 0, "good"), answer(job, 1, "best"), answer(job, 2, "rejected")});
  const double scores[] = {0.4, 0.6, 0.9};
  for (const auto& [stored, of] : pool.unscored(10))
    pool.set_verdicts(std::vector{Verdict{.answer = stored.id,
                                          .scores = {.total = scores[stored.candidate]},
                                          .accepted = stored.candidate != 2,
                                          .reason = stored.candidate == 2 ? "prompt_echo" : ""}});
  const auto accepted = pool.accepted();
  ASSERT_EQ(accepted.size(), 1U);
  EXPECT_EQ(accepted[0].text, "best");
  EXPECT_EQ(accepted[0].reasoner, "endpoint:m1");
  EXPECT_EQ(pool.stats().rejections.at("prompt_echo"), 1);
  EXPECT_EQ(pool.show("", 1)[0].answers.size(), 3U) << "rejected answers stay";
}

TEST_F(PoolTest, RefreshSupersedesOnlyWhenTheNewAnswerIsThere) {
  Pool pool(path(), options());
  pool.set_sample(rows(2), "d");
  pool.adopt(kSource, 1, "prompt");
  answer_all(pool, "old");
  EXPECT_EQ(pool.refresh(Pool::Refresh::kAll, "monthly"), 2);
  EXPECT_EQ(pool.accepted()[0].text, "old");
  EXPECT_EQ(pool.adopt(kSource, 1, "prompt"), 2);
  answer_all(pool, "new");
  EXPECT_EQ(pool.accepted()[0].text, "new");
  const auto shown = pool.show("", 1)[0].answers;
  ASSERT_EQ(shown.size(), 2U) << "nothing is deleted";
  EXPECT_EQ(shown[0].version, 2);
  EXPECT_EQ(shown[1].superseded_by, 2);
}

TEST_F(PoolTest, RefreshOfRejectedLeavesTheAccepted) {
  Pool pool(path(), options());
  pool.set_sample(rows(3), "d");
  pool.adopt(kSource, 1, "prompt");
  answer_all(pool, "text");
  pool.set_verdicts(std::vector{Verdict{.answer = 2, .accepted = false, .reason = "low_score"}});
  pool.refresh(Pool::Refresh::kRejected, "again");
  EXPECT_EQ(pool.adopt(kSource, 1, "prompt"), 1);
}

TEST_F(PoolTest, AnotherModelBeginsAVersionAndGoingBackCostsNothing) {
  Pool pool(path(), options());
  pool.set_sample(rows(2), "d");
  pool.adopt(kSource, 1, "prompt");
  answer_all(pool, "by m1");
  EXPECT_EQ(pool.adopt(kOther, 1, "prompt"), 2);
  EXPECT_EQ(pool.version(), 2);
  answer_all(pool, "by m2");
  EXPECT_EQ(pool.accepted()[0].text, "by m2");
  EXPECT_EQ(pool.adopt(kSource, 1, "prompt"), 0);
  EXPECT_EQ(pool.accepted()[0].text, "by m1");
  EXPECT_EQ(pool.accepted()[1].text, "by m1");
}

TEST_F(PoolTest, MoreCandidatesAreAskedOnTopOfTheStoredOnes) {
  Pool pool(path(), options());
  pool.set_sample(rows(1), "d");
  pool.adopt(kSource, 1, "prompt");
  answer_all(pool, "one");
  EXPECT_EQ(pool.adopt(kSource, 3, "prompt"), 1);
  EXPECT_EQ(pool.claim(1)[0].stored, 1);
}

TEST_F(PoolTest, CountsWhatIsMissingWithoutTouchingThePool) {
  Pool pool(path(), options());
  pool.set_sample(rows(2), "d");
  pool.adopt(kSource, 1, "prompt");
  answer_all(pool, "text");
  EXPECT_EQ(pool.count_missing(rows(5), kSource, 1), 3);
  EXPECT_EQ(pool.count_missing(rows(5), kSource, 2), 5);
  EXPECT_EQ(pool.count_missing(rows(5), kOther, 1), 5);
}

TEST_F(PoolTest, ErasingLeavesNoByteOfTheUser) {
  Pool pool(path(), options());
  pool.set_sample(rows(4), "d");
  pool.adopt(kSource, 1, "prompt");
  answer_all(pool, "secret of the first user");
  pool.set_sample(rows(4), "d");
  ASSERT_THAT(bytes(), HasSubstr("user-0"));
  EXPECT_EQ(pool.erase_user("user-0"), 2);
  EXPECT_EQ(bytes().find("user-0"), std::string::npos);
  EXPECT_THAT(bytes(), HasSubstr("user-1"));
  EXPECT_EQ(pool.stats().answers, 2);
  // What it cost is still known, and the user is not sampled again.
  EXPECT_EQ(pool.spent(false).requests, 4);
  EXPECT_EQ(pool.set_sample(rows(4), "d"), 0);
  EXPECT_EQ(pool.count_missing(rows(4), kOther, 1), 2);
}

TEST_F(PoolTest, ErasedTextIsGoneFromTheFile) {
  Pool pool(path(), options());
  pool.set_sample(rows(4), "d");
  pool.adopt(kSource, 1, "prompt");
  for (const Claim& claim : pool.claim(10))
    pool.store_batch(std::vector{answer(claim.job, 0, "confession of " + claim.row.user)});
  ASSERT_THAT(bytes(), HasSubstr("confession of user-0"));
  pool.erase_user("user-0");
  EXPECT_EQ(bytes().find("confession of user-0"), std::string::npos);
  EXPECT_THAT(bytes(), HasSubstr("confession of user-1"));
}

TEST_F(PoolTest, ExportAndImportAreARoundTrip) {
  Pool pool(path(), options());
  pool.set_sample(rows(4), "d");
  pool.adopt(kSource, 1, "the prompt\nwith two lines");
  answer_all(pool, "text with \"quotes\", \xC3\xA9 and\nlines", 1.0 / 3);
  pool.refresh(Pool::Refresh::kAll, "again");
  pool.adopt(kSource, 1, "the prompt\nwith two lines");
  answer_all(pool, "newer");
  pool.erase_user("user-1");
  pool.export_jsonl(path("one.jsonl"));
  Pool copy(path("copy.sqlite"), options());
  copy.import_jsonl(path("one.jsonl"));
  copy.export_jsonl(path("two.jsonl"));
  EXPECT_EQ(read_file(path("one.jsonl")), read_file(path("two.jsonl")));
  EXPECT_EQ(copy.content_hash(), pool.content_hash());
  EXPECT_EQ(copy.adopt(kSource, 1, "the prompt\nwith two lines"), 0);
}

TEST_F(PoolTest, BadLinesOfAnImportAreNamedAndNothingIsKept) {
  write_file(path("bad.jsonl"),
             "{\"format\":\"llmcf.cot.pool/1\"}\n"
             "{\"table\":\"versions\",\"id\":1,\"created_at\":1,\"note\":\"\",\"source\":null}\n"
             "{\"table\":\"jbos\",\"id\":1}\n");
  Pool pool(path(), options());
  try {
    pool.import_jsonl(path("bad.jsonl"));
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(error.line(), 3);
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'jobs'?"));
  }
  EXPECT_EQ(pool.version(), 1);
  write_file(path("cut.jsonl"), "{\"format\":\"llmcf.cot.pool/1\"}\n{\"table\":\n");
  EXPECT_THROW(pool.import_jsonl(path("cut.jsonl")), InputError);
  write_file(path("other.jsonl"), "{\"format\":\"something else\"}\n");
  EXPECT_THROW(pool.import_jsonl(path("other.jsonl")), InputError);
  write_file(path("only_head.jsonl"), "{\"format\":\"llmcf.cot.pool/1\"}\n");
  EXPECT_THROW(pool.import_jsonl(path("only_head.jsonl")), InputError);
  EXPECT_EQ(pool.meta("format"), "llmcf.cot.pool/1");
}

TEST_F(PoolTest, RefusesAnImportIntoAFullPool) {
  Pool pool(path(), options());
  pool.set_sample(rows(1), "d");
  pool.export_jsonl(path("one.jsonl"));
  EXPECT_THROW(pool.import_jsonl(path("one.jsonl")), Error);
}

TEST_F(PoolTest, RefusesAFileThatIsNoPool) {
  write_file(path(), "this is no database, whatever its name says, and it is long enough");
  EXPECT_THROW(Pool(path(), options()), Error);
  EXPECT_THROW(Pool(path("absent.sqlite"), {.read_only = true}), Error);
}

TEST_F(PoolTest, CanBeReadWhileAnotherConnectionWrites) {
  Pool pool(path(), options());
  pool.set_sample(rows(3), "d");
  const Pool reader(path(), {.read_only = true});
  EXPECT_EQ(reader.stats().jobs.at("pending"), 3);
}

TEST_F(PoolTest, OneProcessGeneratesAtATime) {
  Pool pool(path(), options());
  {
    const GenerationLock first(pool);
    EXPECT_THROW(GenerationLock second(pool), Error);
  }
  const GenerationLock third(pool);
}

TEST_F(PoolTest, AnswersOfAnyBytesAreStoredAsValidText) {
  Pool pool(path(), options());
  pool.set_sample(rows(1), "d");
  pool.adopt(kSource, 1, "prompt");
  pool.store_batch(
      std::vector{answer(pool.claim(1)[0].job, 0, std::string("bad \xFF byte and \0 zero", 19))});
  pool.export_jsonl(path("one.jsonl"));
  EXPECT_THAT(read_file(path("one.jsonl")), HasSubstr("bad ? byte and   ze"));
}

}  // namespace
}  // namespace llmcf::cot
