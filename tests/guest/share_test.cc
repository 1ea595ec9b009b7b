// SPDX-License-Identifier: Apache-2.0
// A user's share of a device, so that nobody takes what others need.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "lending.h"

namespace lanecall::guest_tests {
namespace {

// ---- Channels ---------------------------------------------------------------

class ShareOfChannels : public ::testing::Test {
 protected:
  ShareOfChannels() { EXPECT_EQ(::chmod(kPeer, 0666), 0); }
  ~ShareOfChannels() override { EXPECT_EQ(::chmod(kPeer, 0660), 0); }
  void SetUp() override { ASSERT_TRUE(all_channels_free()); }
  void TearDown() override { EXPECT_TRUE(all_channels_free()); }

  const Parameter share_{"channels_share", "25"};
  const std::size_t quarter_ =
      static_cast<std::size_t>(sysfs_number("channels")) / 4;
};

Fd try_open() { return Fd(::open(kPeer, O_RDWR | O_CLOEXEC | O_NONBLOCK)); }

// As many as this user gets, and at most so many.
std::vector<Fd> open_most(std::size_t most) {
  std::vector<Fd> all;
  while (all.size() < most) {
    Fd fd = try_open();
    if (!fd) break;
    all.push_back(std::move(fd));
  }
  return all;
}

TEST_F(ShareOfChannels, IsForAllOfAUsersPrograms) {
  EXPECT_EQ(as_user(kNobody,
                    [&] {
                      std::vector<Fd> all = open_most(quarter_ + 1);
                      if (all.size() != quarter_ || errno != EDQUOT) return 1;
                      pid_t child = ::fork();
                      if (child == 0)
                        ::_exit(try_open() || errno != EDQUOT ? 1 : 0);
                      int status = -1;
                      ::waitpid(child, &status, 0);
                      if (status != 0) return 2;
                      all.pop_back();
                      return eventually([] { return bool{try_open()}; }) ? 0
                                                                         : 3;
                    }),
            0);
}

TEST_F(ShareOfChannels, IsEachUsersOwnAndNoLimitForThePrivileged) {
  std::vector<Fd> privileged = open_most(quarter_ + 1);
  EXPECT_EQ(privileged.size(), quarter_ + 1);
  EXPECT_EQ(as_user(kNobody,
                    [&] {
                      return open_most(quarter_ + 1).size() == quarter_ ? 0 : 1;
                    }),
            0);
}

// ---- Regions ----------------------------------------------------------------

TEST(ShareOfRegions, IsForAllOfAUsersChannels) {
  if (!device_takes_regions()) GTEST_SKIP() << "the device takes no regions";
  const Parameter share("regions_share", "1");
  const long most = sysfs_number("regions") / 100;
  const std::size_t line = 64;  // of a cache
  Memory memory((most + 1) * line);
  const auto address =
      reinterpret_cast<std::uintptr_t>(memory.data() + most * line);
  Fd fd = open_channel();
  Fd other = open_channel();
  EXPECT_EQ(as_user(kNobody,
                    [&] {
                      lanecall_region_registration last{};
                      for (long i = 0; i < most; i++)
                        last = lend(fd.get(), memory.data() + i * line, 1);
                      if (errno_of(fd.get(), address, 1) != EDQUOT) return 1;
                      if (errno_of(other.get(), address, 1) != EDQUOT) return 2;
                      if (unregister_region(fd.get(), last.region)) return 3;
                      return errno_of(other.get(), address, 1) == 0 ? 0 : 4;
                    }),
            0);
  EXPECT_EQ(regions_in_use(), most);
  for (long i = 0; i <= most; i++)  // privileged
    lend(fd.get(), memory.data() + i * line, 1);
  fd.reset();
  other.reset();
  EXPECT_EQ(regions_in_use(), 0);
}

}  // namespace
}  // namespace lanecall::guest_tests
