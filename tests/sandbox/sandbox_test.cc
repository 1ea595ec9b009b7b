// SPDX-License-Identifier: Apache-2.0
//
// A handler that was taken over tries what it can, through each of a server's
// ways in; next to it, the same without the sandbox, so that each attempt is
// known to be one.
#include <edu/Edu.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <harness.h>
#include <lanecall/descriptor.h>
#include <lanecall/open.h>
#include <lanecall/ring_transport.h>
#include <lanecall/system_calls.h>
#include <linux/landlock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "card_device.h"

namespace lanecall::test {
namespace {

namespace fs = std::filesystem;

class SandboxTest : public ::testing::Test {
 protected:
  SandboxTest()
      : folder_(makeFolder()), harness_(localHarness(LANECALL_SANDBOX_SERVER)) {
    fs::create_directory(folder_ + "/sockets");
    std::ofstream(folder_ + "/file");
  }
  ~SandboxTest() override {
    harness_.reset();
    fs::remove_all(folder_);
  }

  static std::string makeFolder() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp");
    return pattern;
  }

  std::string socketPath() const { return folder_ + "/sockets/server"; }
  std::string cardPath() const { return folder_ + "/sockets/card"; }
  std::string filePath() const { return folder_ + "/file"; }

  void start(std::vector<std::string> arguments = {"--sandbox"}) {
    arguments.insert(arguments.end(), {"--log-level", "off"});
    server_ = harness_->start(
        {"tcp:127.0.0.1:0", "unix:" + socketPath(), "card:unix:" + cardPath()},
        arguments);
  }

  int stop() { return harness_->stop(server_->id); }

  std::shared_ptr<edu::EduClient> client(int way) {
    if (way < 2)
      return std::make_shared<edu::EduClient>(
          protocolOn(openTransport(server_->addresses[way])));
    if (!device_) {
      device_.emplace(cardPath());
      device_->greet();
    }
    return std::make_shared<edu::EduClient>(
        protocolOn(std::make_shared<RingTransport>(device_->open())));
  }

  std::string attempt(const std::string& text) {
    if (!client_) client_ = client(1);
    std::string result;
    client_->echo(result, text);
    return result;
  }

  pid_t pid() const {
    const Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socketPath().copy(address.sun_path, sizeof address.sun_path - 1);
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address),
                  sizeof address) < 0 ||
        ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
      throw std::runtime_error("nobody listens at " + socketPath());
    return peer.pid;
  }

  // What all threads of the server have there, each value once.
  std::set<std::string> statusOfThreads(const std::string& field) const {
    std::set<std::string> values;
    const std::string tasks = "/proc/" + std::to_string(pid()) + "/task";
    for (const auto& task : fs::directory_iterator(tasks)) {
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);)
        if (line.starts_with(field + ":\t"))
          values.insert(line.substr(field.size() + 2));
    }
    return values;
  }

  // Whether this machine's kernel guards files for us.
  static bool hasLandlock() {
    return ::syscall(SYS_landlock_create_ruleset, nullptr, 0,
                     LANDLOCK_CREATE_RULESET_VERSION) > 0;
  }

  const std::string folder_;
  std::unique_ptr<Harness> harness_;
  std::optional<Harness::Server> server_;
  std::optional<CardDevice> device_;
  std::shared_ptr<edu::EduClient> client_;
};

using Values = std::set<std::string>;

struct Attempt {
  const char* what;
  const char* inSandbox;
  const char* without;  // as anybody, with /nonexistent for a path
};

const Attempt kAttempts[] = {
    {"open", "EPERM", "ENOENT"},
    {"create", "EPERM", nullptr},
    {"openat2", "EPERM", "EINVAL"},
    {"mkdir", "EPERM", nullptr},
    {"rename", "EPERM", "ENOENT"},
    {"chmod", "EPERM", "ENOENT"},
    {"execve", "EPERM", "ENOENT"},
    {"fork", "EPERM", "done"},
    {"clone3", "ENOSYS", "EINVAL"},
    {"socket", "EPERM", "done"},
    {"socketpair", "EPERM", "done"},
    {"connect", "EPERM", "EBADF"},
    {"sendtoConnecting", "EPERM", "EBADF"},
    {"sendmsgConnecting", "EPERM", "EBADF"},
    {"bind", "EPERM", "EBADF"},
    {"listen", "EPERM", "EBADF"},
    {"ptrace", "EPERM", "ESRCH"},
    {"readOther", "EPERM", "done"},
    {"kill", "EPERM", "done"},
    {"mapCode", "EPERM", "done"},
    {"makeCodeOfData", "EPERM", "done"},
    {"uring", "EPERM", nullptr},
    {"bpf", "EPERM", nullptr},
    {"keyring", "EPERM", nullptr},
    {"memfd", "EPERM", "done"},
    {"typeForUser", "EPERM", "EBADF"},
    {"setuid", "EPERM", "done"},
    {"thread", "done", "done"},
};

TEST_F(SandboxTest, AHandlerGetsNowhereWhicheverWayTheCallCame) {
  start();
  for (int way = 0; way < 3; ++way) {
    client_ = client(way);
    for (const Attempt& each : kAttempts)
      EXPECT_EQ(attempt(each.what + std::string(" /nonexistent")),
                each.inSandbox)
          << each.what << ", way " << way;
    EXPECT_EQ(attempt("open /etc/passwd"), "EPERM");
    EXPECT_EQ(attempt("execve /bin/true"), "EPERM");
  }
  EXPECT_EQ(stop(), 0);
}

TEST_F(SandboxTest, WithoutItTheSameIsAllowed) {
  start({"--no-sandbox"});
  for (const Attempt& each : kAttempts)
    if (each.without) {
      EXPECT_EQ(attempt(each.what + std::string(" /nonexistent")), each.without)
          << each.what;
    }
  EXPECT_EQ(attempt("open /etc/passwd"), "done");
  EXPECT_EQ(attempt("remove " + filePath()), "done");
  EXPECT_EQ(stop(), 0);
}

TEST_F(SandboxTest, NothingIsRemovedButItsSockets) {
  start();
  if (!hasLandlock()) {
    EXPECT_EQ(attempt("remove " + filePath()), "EPERM");
    GTEST_SKIP() << "this kernel has no Landlock";
  }
  EXPECT_EQ(attempt("remove " + filePath()), "EACCES");
  EXPECT_EQ(attempt("remove " + folder_ + "/sockets/../file"), "EACCES");
  EXPECT_EQ(attempt("remove /etc/passwd"), "EACCES");
  EXPECT_TRUE(fs::exists(cardPath()));
  EXPECT_EQ(stop(), 0);
  EXPECT_TRUE(fs::exists(filePath()));
  EXPECT_TRUE(fs::is_empty(folder_ + "/sockets"));
}

// Where they have no folder of their own, not even these.
TEST_F(SandboxTest, NothingIsRemovedNextToOtherFiles) {
  for (const std::string& other :
       {folder_ + "/sockets/file", folder_ + "/sockets/below/file"}) {
    fs::create_directories(fs::path(other).parent_path());
    std::ofstream{other};
    client_.reset();
    start();
    EXPECT_EQ(attempt("remove " + other), "EPERM");
    EXPECT_EQ(attempt("remove " + cardPath()), "EPERM");
    EXPECT_EQ(stop(), 0);
    EXPECT_TRUE(fs::exists(other));
    EXPECT_TRUE(fs::exists(socketPath())) << "the next server replaces it";
    fs::remove(other);
  }
}

TEST_F(SandboxTest, EveryThreadHasGivenUpWhatItCould) {
  start();
  client(1)->ping();
  client(2)->ping();
  EXPECT_EQ(statusOfThreads("Seccomp"), Values{"2"});
  EXPECT_EQ(statusOfThreads("NoNewPrivs"), Values{"1"});
  for (const char* which : {"CapEff", "CapPrm", "CapInh", "CapAmb"})
    EXPECT_EQ(statusOfThreads(which), Values{"0000000000000000"}) << which;
  EXPECT_EQ(stop(), 0);
}

TEST_F(SandboxTest, ItIsAChoice) {
  start({});
  EXPECT_EQ(statusOfThreads("Seccomp"), Values{"0"});
  EXPECT_EQ(attempt("open /etc/passwd"), "done");
}

TEST_F(SandboxTest, ASocketBesideTheWorkingFolderIsFound) {
  fs::current_path(folder_ + "/sockets");
  server_ = harness_->start({"unix:here"}, {"--sandbox", "--log-level", "off"});
  EXPECT_EQ(stop(), 0);
  EXPECT_EQ(fs::exists(folder_ + "/sockets/here"), !hasLandlock());
}

TEST_F(SandboxTest, RootBecomesTheUserItIsTold) {
  if (::getuid() != 0) GTEST_SKIP() << "only root can";
  fs::permissions(folder_, fs::perms::owner_all | fs::perms::others_exec);
  ASSERT_EQ(::chown((folder_ + "/sockets").c_str(), 65534, 0), 0);
  start({"--sandbox", "--user", "nobody"});
  const std::string nobody = "65534\t65534\t65534\t65534";
  EXPECT_EQ(statusOfThreads("Uid"), Values{nobody});
  EXPECT_EQ(statusOfThreads("Gid"), Values{nobody});
  EXPECT_EQ(statusOfThreads("Groups"), Values{" "});
  EXPECT_EQ(statusOfThreads("Seccomp"), Values{"2"});
  EXPECT_EQ(attempt("open /etc/passwd"), "EPERM");
  EXPECT_EQ(stop(), 0);
}

TEST_F(SandboxTest, WhoIsNobodyCannotServe) {
  EXPECT_THROW(start({"--user", "no-such-user"}), std::runtime_error);
}

// What a kernel without Landlock has left.
TEST(SandboxDeathTest, WithoutLandlockNothingIsRemoved) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const int result = allowOnlyServing(false);
        ::_exit(result == 0 && ::unlink("/nonexistent") < 0 && errno == EPERM
                    ? 0
                    : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(SandboxDeathTest, OtherArchitecturesCallsEndTheProcess) {
#ifndef __x86_64__
  GTEST_SKIP() << "there is none here";
#else
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        allowOnlyServing(true);
        // A 32-bit process's getpid.
        long id;
        asm volatile("int $0x80" : "=a"(id) : "a"(20) : "memory");
        ::_exit(0);
      },
      ::testing::KilledBySignal(SIGSYS), "");
#endif
}

}  // namespace
}  // namespace lanecall::test
