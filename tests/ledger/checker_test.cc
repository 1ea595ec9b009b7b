// SPDX-License-Identifier: Apache-2.0
//
// The checker, on ledgers that are in order and on ledgers that lie: one for
// each rule.
#include "checker.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "answers.h"
#include "book.h"

namespace lanecall::ledger {
namespace {

using Entries = std::vector<Entry>;

constexpr std::uint64_t kData = 11;
constexpr std::uint64_t kAnswer = 22;

Entry sent(std::uint64_t number, std::uint64_t channel = 1) {
  return {What::kSent, 0, channel, number, kData};
}
Entry ok(std::uint64_t number, std::uint64_t channel = 1) {
  return {What::kOk, 0, channel, number, kAnswer};
}
Entry failed(What what, std::uint64_t number) {
  return {what, 0, 1, number, 0};
}
Entry began(std::uint64_t number, std::uint64_t channel = 1) {
  return {What::kBegan, 0, channel, number, kData};
}
Entry ended(std::uint64_t number, std::uint64_t channel = 1) {
  return {What::kEnded, 0, channel, number, kAnswer};
}

// The one fault of ledgers that have one.
std::string faultOf(const Entries& client, const Entries& server) {
  const Verdict verdict = check(client, server);
  EXPECT_EQ(verdict.faultCount, 1u);
  return verdict.faults.empty() ? "" : verdict.faults.front();
}

TEST(Checker, TakesWhatIsInOrder) {
  const Entries client = {sent(0), ok(0), sent(0, 2), ok(0, 2), sent(1), ok(1)};
  const Entries server = {began(0),    ended(0),    began(1),
                          began(0, 2), ended(0, 2), ended(1)};
  const Verdict verdict = check(client, server);
  EXPECT_EQ(verdict.faultCount, 0u) << verdict.faults.front();
  EXPECT_EQ(verdict.ok, 3u);
  EXPECT_EQ(verdict.unknown, 0u);
}

TEST(Checker, TakesManyThatWereSentBeforeTheFirstAnswer) {
  const Entries client = {sent(0), sent(1), sent(2), ok(0), ok(1), ok(2)};
  const Entries server = {began(0), ended(0), began(1),
                          ended(1), began(2), ended(2)};
  EXPECT_EQ(check(client, server).faultCount, 0u);
}

TEST(Checker, CountsWhatFailed) {
  const Entries client = {
      sent(0), failed(What::kUnknown, 0), sent(1), failed(What::kUnknown, 1),
      sent(2), failed(What::kNotRun, 2),  sent(3)};
  const Entries server = {began(0), ended(0), began(3)};
  const Verdict verdict = check(client, server);
  EXPECT_EQ(verdict.faultCount, 0u);
  EXPECT_EQ(verdict.notRun, 1u);
  EXPECT_EQ(verdict.unknown, 3u) << "one client was killed";
  EXPECT_EQ(verdict.unknownRan, 2u);
  EXPECT_EQ(verdict.unfinished, 1u);
}

TEST(Checker, FindsACallThatIsOkAndDidNotRun) {
  EXPECT_EQ(faultOf({sent(0), ok(0)}, {}),
            "call 0 of channel 1: is OK, and did not run");
}

TEST(Checker, FindsACallThatIsOkAndDidNotEnd) {
  EXPECT_EQ(faultOf({sent(0), ok(0)}, {began(0)}),
            "call 0 of channel 1: is OK, and did not run to its end");
}

TEST(Checker, FindsACallThatRanTwice) {
  const Entries twice = {began(0), ended(0), began(0), ended(0)};
  const Verdict verdict = check({{sent(0), ok(0)}}, twice);
  ASSERT_EQ(verdict.faultCount, 2u);
  EXPECT_EQ(verdict.faults[0], "call 0 of channel 1: ran out of order");
  EXPECT_EQ(verdict.faults[1], "call 0 of channel 1: ran 2 times");
  EXPECT_EQ(check({{sent(0), failed(What::kUnknown, 0)}}, twice).faultCount,
            2u);
}

TEST(Checker, FindsACallThatRanAndWasReportedAsNotRun) {
  EXPECT_EQ(faultOf({sent(0), failed(What::kNotRun, 0)}, {began(0), ended(0)}),
            "call 0 of channel 1: ran, and was reported as not run");
}

TEST(Checker, FindsACallThatNobodySent) {
  EXPECT_EQ(faultOf({}, {began(0)}),
            "call 0 of channel 1: ran, and nobody had sent it");
}

TEST(Checker, FindsDataThatWasChanged) {
  Entry other = began(0);
  other.digest++;
  EXPECT_EQ(faultOf({sent(0), ok(0)}, {other, ended(0)}),
            "call 0 of channel 1: other data than was sent");
}

TEST(Checker, FindsAnAnswerThatWasChanged) {
  Entry other = ended(0);
  other.digest++;
  EXPECT_EQ(faultOf({sent(0), ok(0)}, {began(0), other}),
            "call 0 of channel 1: has another answer than was given");
}

TEST(Checker, FindsCallsOutOfOrder) {
  EXPECT_EQ(faultOf({sent(0), ok(0), sent(1), ok(1)},
                    {began(1), ended(1), began(0), ended(0)}),
            "call 0 of channel 1: ran out of order");
}

TEST(Checker, FindsCallsThatOverlap) {
  const Verdict verdict = check({{sent(0), ok(0), sent(1), ok(1)}},
                                {{began(0), began(1), ended(0), ended(1)}});
  ASSERT_GE(verdict.faultCount, 1u);
  EXPECT_EQ(verdict.faults[0],
            "call 1 of channel 1: began before the one before it had ended");
}

TEST(Checker, FindsAnEndWithoutABeginning) {
  const Verdict verdict = check({{sent(0), ok(0)}}, {{ended(0)}});
  ASSERT_GE(verdict.faultCount, 1u);
  EXPECT_EQ(verdict.faults[0],
            "call 0 of channel 1: ended, and was not running");
}

TEST(Checker, FindsWrongAnswersAndHungCalls) {
  EXPECT_EQ(faultOf({sent(0), failed(What::kWrong, 0)}, {began(0), ended(0)}),
            "call 0 of channel 1: has a wrong answer");
  EXPECT_EQ(faultOf({sent(0), failed(What::kHung, 0)}, {}),
            "call 0 of channel 1: hung");
}

TEST(Checker, FindsAClientThatCannotCount) {
  EXPECT_EQ(faultOf({sent(0), sent(0)}, {}),
            "call 0 of channel 1: was sent twice");
  EXPECT_EQ(faultOf({sent(0), ok(0), ok(0)}, {began(0), ended(0)}),
            "call 0 of channel 1: has an outcome too many");
}

TEST(Checker, FindsEntriesOfTheOtherSide) {
  EXPECT_EQ(faultOf({began(0)}, {}),
            "call 0 of channel 1: no entry of a client");
  EXPECT_EQ(faultOf({}, {sent(0)}),
            "call 0 of channel 1: no entry of a server");
}

// ---- Books
// -------------------------------------------------------------------

class Folder {
 public:
  Folder() {
    std::string pattern =
        std::filesystem::temp_directory_path() / "lanecall-ledger-XXXXXX";
    if (::mkdtemp(pattern.data())) path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

TEST(Books, KeepWhatAKilledProcessHasAdded) {
  constexpr std::uint64_t kEntries = 1000;
  const Folder folder;
  const Book book(folder.file("book"));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (std::uint64_t i = 0; i < kEntries; ++i) book.add(began(i));
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  book.add(ended(0));
  const Entries entries = Book(folder.file("book")).read(0, 2 * kEntries);
  ASSERT_EQ(entries.size(), kEntries + 1);
  EXPECT_EQ(entries[kEntries - 1].number, kEntries - 1);
  EXPECT_EQ(book.read(kEntries, 10).size(), 1u);
  EXPECT_EQ(book.read(kEntries + 1, 10).size(), 0u);
}

TEST(Books, RefuseAFileThatEndsInsideAnEntry) {
  const Folder folder;
  const Book book(folder.file("book"));
  const Descriptor file(
      ::open(folder.file("book").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(::write(file.get(), "?", 1), 1);
  EXPECT_THROW(book.read(0, 1), std::system_error);
}

TEST(Answers, FollowFromAllOfTheData) {
  EXPECT_EQ(answerTo("data", 0), "");
  EXPECT_EQ(answerTo("data", 100).substr(0, 13), answerTo("data", 13));
  EXPECT_NE(answerTo("data", 8), answerTo("dato", 8));
  EXPECT_NE(digestOf(std::string(1, '\0')), digestOf(std::string(2, '\0')));
}

}  // namespace
}  // namespace lanecall::ledger
