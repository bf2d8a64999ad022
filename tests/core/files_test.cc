// Files are whole or absent; hashes notice every change.
#include "core/files.h"

#include <algorithm>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/hash.h"

namespace llmcf {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

int64_t entries(const fs::path& directory) {
  return std::distance(fs::directory_iterator(directory), fs::directory_iterator());
}

TEST(ReadFile, ReadsFilesOfTheKernelThatClaimToBeEmpty) {
  EXPECT_NE(read_file("/proc/self/status").find("VmRSS"), std::string::npos);
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  const TemporaryDirectory directory;
  {
    AtomicFile file(directory.path() / "a.txt");
    file.write(std::string(3 << 20, 'x'));
    EXPECT_FALSE(fs::exists(directory.path() / "a.txt"));
  }
  EXPECT_EQ(entries(directory.path()), 0);
}

TEST(AtomicFile, KeepsTheOldContentUntilCommit) {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "a.txt";
  write_file(path, "old");
  {
    AtomicFile abandoned(path);
    abandoned.write("half");
  }
  EXPECT_EQ(read_file(path), "old");
  AtomicFile file(path);
  file.write("new");
  EXPECT_EQ(read_file(path), "old");
  file.commit();
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(entries(directory.path()), 1);
}

TEST(AtomicFile, JoinsSmallAndLargeWritesInOrder) {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "a.bin";
  std::string expected;
  AtomicFile file(path);
  for (const size_t size : {1u, 1u << 20, 7u, (1u << 20) - 1, 3u << 20, 0u, 5u}) {
    const std::string piece(size, static_cast<char>('a' + expected.size() % 23));
    file.write(piece);
    expected += piece;
  }
  EXPECT_EQ(file.size(), expected.size());
  file.commit();
  EXPECT_TRUE(read_file(path) == expected);
}

TEST(AtomicFile, OverwritesAHeaderWrittenEarlier) {
  const TemporaryDirectory directory;
  const fs::path path = directory.path() / "a.bin";
  AtomicFile file(path);
  file.write("????body");
  file.write_at(0, "HEAD", 4);
  file.write("tail");
  file.commit();
  EXPECT_EQ(read_file(path), "HEADbodytail");
}

TEST(AtomicFile, CreatesMissingDirectories) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "a" / "b" / "c.txt", "x");
  EXPECT_EQ(read_file(directory.path() / "a" / "b" / "c.txt"), "x");
}

TEST(AtomicFile, NamesAnUnusablePathAndTheReason) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "file", "x");
  try {
    AtomicFile file(directory.path() / "file" / "below");
    FAIL() << "a file is not a directory";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("below"));
    EXPECT_THAT(error.what(), HasSubstr("Not a directory"));
  }
}

TEST(MappedFile, ReadsEmptyFiles) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "empty", "");
  const MappedFile file(directory.path() / "empty");
  EXPECT_EQ(file.size(), 0u);
  EXPECT_EQ(file.text(), "");
}

TEST(MappedFile, RefusesDirectoriesAndMissingFiles) {
  const TemporaryDirectory directory;
  EXPECT_THROW(MappedFile{directory.path()}, Error);
  EXPECT_THROW(MappedFile{directory.path() / "missing"}, Error);
}

TEST(MappedFile, KeepsItsAddressWhenMoved) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "a", "content");
  MappedFile first(directory.path() / "a");
  const std::byte* address = first.data();
  MappedFile second(std::move(first));
  EXPECT_EQ(second.data(), address);
  EXPECT_EQ(second.text(), "content");
}

TEST(MappedFile, KeepsTheOldContentWhenTheFileIsReplaced) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "a", "before");
  const MappedFile file(directory.path() / "a");
  write_file(directory.path() / "a", "after!");
  EXPECT_EQ(file.text(), "before");
}

TEST(TemporaryDirectory, IsRemovedWithItsContent) {
  fs::path path;
  {
    const TemporaryDirectory directory;
    path = directory.path();
    write_file(path / "deep" / "file", "x");
    EXPECT_TRUE(fs::is_directory(path));
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(Hash, DoesNotDependOnThePieces) {
  const std::string text(100'000, 'q');
  Hasher whole, pieces;
  whole.add(text.data(), text.size());
  for (size_t at = 0; at < text.size(); at += 777) {
    pieces.add(text.data() + at, std::min<size_t>(777, text.size() - at));
  }
  EXPECT_EQ(whole.hex(), pieces.hex());
  EXPECT_EQ(whole.hex(), hash_hex(text));
}

TEST(Hash, FieldsAreKeptApart) {
  Hasher left, right;
  left.add_field("ab");
  left.add_field("c");
  right.add_field("a");
  right.add_field("bc");
  EXPECT_NE(left.hex(), right.hex());
}

TEST(Hash, IsPinnedAndOfFixedWidth) {
  // XXH3-128 of nothing, as published with the algorithm.
  EXPECT_EQ(hash_hex(""), "99aa06d3014798d86001c324468d497f");
}

TEST(Hash, OfAFileIsThatOfItsContent) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "a", "some bytes");
  EXPECT_EQ(hash_file(directory.path() / "a"), hash_hex("some bytes"));
}

}  // namespace
}  // namespace llmcf
