// Event files, read back by a decoder in another language, and continued after a kill.
#include "train/event_file.h"

#include <array>
#include <cstdio>

#include <gtest/gtest.h>

#include "core/files.h"

namespace llmcf::train {
namespace {

std::string decoded(const std::filesystem::path& path) {
  const std::string command =
      "python3 '" LLMCF_SOURCE_DIR "/tests/train/decode_events.py' '" + path.string() + "' 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string text;
  std::array<char, 256> line{};
  while (std::fgets(line.data(), line.size(), pipe) != nullptr)
    text += line.data();
  ::pclose(pipe);
  return text;
}

TEST(Crc32c, MeetsTheStandardsTestVectors) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAU);  // RFC 3720, B.4
}

TEST(EventFile, IsReadByAnIndependentDecoder) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "new" / "events.out.tfevents.1.run";
  {
    EventFile file(path, 1.5e9);
    file.scalar("train/loss", 300, 0.625F, 1.5e9 + 1);
    file.scalar("valid/auc", 5'000'000'000, 0.75F, 1.5e9 + 2);
  }
  EXPECT_EQ(decoded(path),
            "version brain.Event:2\ntrain/loss 300 0.625\nvalid/auc 5000000000 0.75\n");
}

TEST(EventFile, ContinuesAfterTheLastKeptStep) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "events.out.tfevents.1.run";
  {
    EventFile file(path, 1.5e9);
    file.scalar("loss", 10, 1, 1.5e9);
    file.scalar("loss", 20, 2, 1.5e9);
    file.scalar("loss", 30, 3, 1.5e9);
  }
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);  // torn
  EventFile(path, 1.5e9, 30).scalar("loss", 31, 4, 1.5e9);
  EXPECT_EQ(decoded(path), "version brain.Event:2\nloss 10 1\nloss 20 2\nloss 31 4\n");
  EventFile(path, 1.5e9, 10).scalar("loss", 11, 5, 1.5e9);
  EXPECT_EQ(decoded(path), "version brain.Event:2\nloss 10 1\nloss 11 5\n");
}

TEST(EventFile, BeginsAnewWithoutAStepToKeep) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "events.out.tfevents.1.run";
  EventFile(path, 1.5e9).scalar("loss", 10, 1, 1.5e9);
  EventFile(path, 1.5e9).scalar("loss", 5, 2, 1.5e9);
  EXPECT_EQ(decoded(path), "version brain.Event:2\nloss 5 2\n");
}

}  // namespace
}  // namespace llmcf::train
