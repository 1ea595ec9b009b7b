// SPDX-License-Identifier: Apache-2.0
//
// DeviceIo on things that are not our node.
#include <gtest/gtest.h>
#include <lanecall/device_io.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace lanecall {
namespace {

class DeviceIoTest : public ::testing::Test {
 protected:
  DeviceIoTest() {
    std::string pattern = ::testing::TempDir() + "lanecall-XXXXXX";
    folder = ::mkdtemp(pattern.data());
  }
  ~DeviceIoTest() override { std::filesystem::remove_all(folder); }

  std::string folder;
};

TEST_F(DeviceIoTest, AMissingNodeIsMissing) {
  EXPECT_EQ(DeviceIo(folder + "/lanecall0").open(), -ENOENT);
}

TEST_F(DeviceIoTest, AnotherDeviceIsNotOurs) {
  DeviceIo io("/dev/null");
  EXPECT_EQ(io.open(), -ENOTTY);
  EXPECT_FALSE(io.isOpen());
}

TEST_F(DeviceIoTest, AFifoIsNotOursAndDoesNotBlock) {
  ASSERT_EQ(::mkfifo((folder + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(DeviceIo(folder + "/fifo").open(), -ENOTTY);
}

TEST_F(DeviceIoTest, AFolderIsNotOurs) {
  EXPECT_EQ(DeviceIo(folder).open(), -EISDIR);
}

TEST_F(DeviceIoTest, WithoutPermissionItSaysSo) {
  const std::string node = folder + "/node";
  ASSERT_EQ(::mknod(node.c_str(), S_IFREG, 0), 0);
  // Root may open anything: ask as somebody else, in a child.
  pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::chmod(folder.c_str(), 0755) != 0 ||
                             ::setgid(65534) != 0 || ::setuid(65534) != 0))
      ::_exit(99);
    ::_exit(DeviceIo(node).open() == -EACCES ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << "status " << status;
}

}  // namespace
}  // namespace lanecall
