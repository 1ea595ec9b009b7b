// SPDX-License-Identifier: Apache-2.0
// Bytes: every call that moves them, whole, in order, interrupted.
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "channel.h"

namespace lanecall::guest_tests {
namespace {

// Sends data and expects it back, reading while writing.
void expect_echo(int fd, const std::string& data) {
  std::thread writer([&] { write_all(fd, data); });
  std::string back = read_count(fd, data.size());
  writer.join();
  EXPECT_EQ(back.size(), data.size());
  EXPECT_TRUE(back == data);
}

// Fills TX and the sockets behind it until the driver has no room.
std::size_t fill(int fd) {
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  std::string block(65536, 'x');
  std::size_t total = 0;
  for (;;) {
    ssize_t n = ::write(fd, block.data(), block.size());
    if (n > 0) {
      total += static_cast<std::size_t>(n);
    } else if (errno != EAGAIN ||
               poll_for(fd, POLLOUT, std::chrono::milliseconds(200)) == 0) {
      EXPECT_EQ(errno, EAGAIN);
      break;
    }
  }
  ::fcntl(fd, F_SETFL, 0);
  return total;
}

std::string release_the_mute() {
  Fd fd = open_with("release");
  return read_count(fd.get(), 9);
}

class EchoSizes : public testing::TestWithParam<std::size_t> {};

TEST_P(EchoSizes, ComeBackUnchanged) {
  Fd fd = open_with("echo");
  expect_echo(fd.get(), random_bytes(GetParam(), 7));
}

INSTANTIATE_TEST_SUITE_P(Stream, EchoSizes,
                         testing::Values(1, 511, 512, 513, 4095, 4096, 4097,
                                         262143, 262144, 262145, 1 << 20,
                                         16 << 20));

class RingSizes : public testing::TestWithParam<std::uint32_t> {};

TEST_P(RingSizes, CarryMoreThanTheyHold) {
  std::uint32_t bytes = GetParam();
  Fd fd = open_channel();
  lanecall_ring_sizes sizes{bytes, bytes};
  ASSERT_EQ(::ioctl(fd.get(), LANECALL_IOC_SET_RINGS, &sizes), 0);
  lanecall_info info = info_of(fd.get());
  EXPECT_EQ(info.tx_bytes, bytes);
  EXPECT_EQ(info.rx_bytes, bytes);
  write_all(fd.get(), "echo\n");
  expect_echo(fd.get(), random_bytes(2 * bytes + 3, bytes));
}

INSTANTIATE_TEST_SUITE_P(Stream, RingSizes,
                         testing::Values(4096, 8192, 65536, 1 << 20, 8 << 20));

TEST(Stream, ReadOfNothingAndWriteOfNothingDoNothing) {
  Fd fd = open_with("echo");
  char byte = 0;
  EXPECT_EQ(::read(fd.get(), &byte, 0), 0);
  EXPECT_EQ(::write(fd.get(), &byte, 0), 0);
}

TEST(Stream, ReadReturnsWhatIsThere) {
  Fd fd = open_with("echo");
  write_all(fd.get(), "abc");
  char buffer[100];
  ssize_t n = ::read(fd.get(), buffer, sizeof(buffer));
  ASSERT_GT(n, 0);
  EXPECT_LE(n, 3);
}

TEST(Stream, NonblockingReadSaysEagain) {
  Fd fd = open_with("echo");
  ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  char byte = 0;
  EXPECT_EQ(::read(fd.get(), &byte, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
  write_all(fd.get(), "a");
  EXPECT_EQ(poll_for(fd.get(), POLLIN), POLLIN);
  EXPECT_EQ(::read(fd.get(), &byte, 1), 1);
}

TEST(Stream, NowaitReadSaysEagain) {
  Fd fd = open_with("echo");
  char byte = 0;
  iovec vector{&byte, 1};
  EXPECT_EQ(::preadv2(fd.get(), &vector, 1, -1, RWF_NOWAIT), -1);
  EXPECT_EQ(errno, EAGAIN);
  write_all(fd.get(), "a");
  EXPECT_EQ(poll_for(fd.get(), POLLIN), POLLIN);
  EXPECT_EQ(::preadv2(fd.get(), &vector, 1, -1, RWF_NOWAIT), 1);
}

TEST(Stream, GathersAndScatters) {
  Fd fd = open_with("echo");
  std::string data = random_bytes(10000, 1);
  iovec out[3] = {
      {data.data(), 1}, {data.data() + 1, 0}, {data.data() + 1, 9999}};
  ASSERT_EQ(::writev(fd.get(), out, 3), 10000);
  std::string back(10000, '\0');
  std::size_t done = 0;
  while (done < back.size()) {
    std::size_t first = std::min<std::size_t>(3, back.size() - done);
    iovec in[2] = {{back.data() + done, first},
                   {back.data() + done + first, back.size() - done - first}};
    ssize_t n = ::readv(fd.get(), in, 2);
    ASSERT_GT(n, 0);
    done += static_cast<std::size_t>(n);
  }
  EXPECT_TRUE(back == data);
}

TEST(Stream, AsynchronousCallsWork) {
  Fd fd = open_with("echo");
  aio_context_t context = 0;
  ASSERT_EQ(::syscall(SYS_io_setup, 4, &context), 0);
  std::string data = "asynchronous";
  std::string back(data.size(), '\0');
  for (auto [opcode, buffer] :
       {std::pair{IOCB_CMD_PWRITE, &data}, std::pair{IOCB_CMD_PREAD, &back}}) {
    iocb request{};
    request.aio_lio_opcode = static_cast<std::uint16_t>(opcode);
    request.aio_fildes = static_cast<std::uint32_t>(fd.get());
    request.aio_buf = reinterpret_cast<std::uintptr_t>(buffer->data());
    request.aio_nbytes = buffer->size();
    iocb* list[] = {&request};
    ASSERT_EQ(::syscall(SYS_io_submit, context, 1, list), 1);
    io_event event{};
    ASSERT_EQ(::syscall(SYS_io_getevents, context, 1, 1, &event, nullptr), 1);
    EXPECT_EQ(event.res, static_cast<std::int64_t>(data.size()));
  }
  EXPECT_EQ(back, data);
  ::syscall(SYS_io_destroy, context);
}

TEST(Stream, HasNoPosition) {
  Fd fd = open_channel();
  char byte = 0;
  EXPECT_EQ(::pread(fd.get(), &byte, 1, 0), -1);
  EXPECT_EQ(errno, ESPIPE);
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), -1);
  EXPECT_EQ(errno, ESPIPE);
}

TEST(Stream, BadPointersAreEfaultAndLoseNothing) {
  Fd fd = open_with("echo");
  void* hole =
      ::mmap(nullptr, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(hole, MAP_FAILED);
  EXPECT_EQ(::write(fd.get(), hole, 100), -1);
  EXPECT_EQ(errno, EFAULT);
  write_all(fd.get(), "whole");
  EXPECT_EQ(poll_for(fd.get(), POLLIN), POLLIN);
  EXPECT_EQ(::read(fd.get(), hole, 100), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(read_count(fd.get(), 5), "whole");
  ::munmap(hole, 8192);
}

TEST(Stream, ASignalEndsARead) {
  Fd fd = open_with("echo");
  with_signal(false, [&] {
    char byte = 0;
    EXPECT_EQ(::read(fd.get(), &byte, 1), -1);
    EXPECT_EQ(errno, EINTR);
  });
}

TEST(Stream, ARestartedReadGoesOn) {
  Fd fd = open_with("echo");
  std::thread writer;
  with_signal(true, [&] {
    char byte = 0;
    writer = std::thread([&] {
      EXPECT_TRUE(eventually(signal_was_handled));
      write_all(fd.get(), "r");
    });
    EXPECT_EQ(::read(fd.get(), &byte, 1), 1);
    EXPECT_EQ(byte, 'r');
  });
  writer.join();
}

TEST(Stream, ASignalEndsAWriteWithWhatWentBefore) {
  Fd fd = open_with("mute");
  with_signal(false, [&] {
    std::string data(16 << 20, 'x');
    ssize_t n = ::write(fd.get(), data.data(), data.size());
    EXPECT_GT(n, 0);
    EXPECT_LT(n, static_cast<ssize_t>(data.size()));
  });
  with_signal(false, [&] {
    char byte = 0;
    EXPECT_EQ(::write(fd.get(), &byte, 1), -1);
    EXPECT_EQ(errno, EINTR);
  });
  with_signal(false, [&] {
    EXPECT_EQ(::fsync(fd.get()), -1);
    EXPECT_EQ(errno, EINTR);
  });
  EXPECT_EQ(release_the_mute(), "released\n");
  EXPECT_EQ(::fsync(fd.get()), 0);
}

TEST(Stream, AFullChannelSaysSoAndRecovers) {
  Fd fd = open_with("mute");
  std::size_t filled = fill(fd.get());
  EXPECT_GE(filled, 262144U - 5);  // the order may be in the ring still
  EXPECT_LT(filled, std::size_t{64} << 20);
  EXPECT_EQ(poll_for(fd.get(), POLLOUT, std::chrono::milliseconds(0)), 0);
  EXPECT_EQ(release_the_mute(), "released\n");
  EXPECT_EQ(poll_for(fd.get(), POLLOUT), POLLOUT);
  EXPECT_EQ(::fsync(fd.get()), 0);
}

TEST(Stream, AStalledChannelDoesNotStallAnother) {
  Fd stalled = open_with("mute");
  fill(stalled.get());
  Fd other = open_with("echo");
  expect_echo(other.get(), random_bytes(8 << 20, 3));
  EXPECT_EQ(release_the_mute(), "released\n");
}

TEST(Stream, AReaderThatDoesNotReadStallsOnlyItself) {
  Fd lazy = open_with("send 20000000");
  Fd other = open_with("echo");
  expect_echo(other.get(), random_bytes(4 << 20, 4));
  std::string all = read_to_end(lazy.get());
  EXPECT_EQ(all.size(), 20000000U);
  EXPECT_TRUE(all == pattern(0, 20000000));
}

TEST(Stream, EveryChannelAtOnce) {
  ASSERT_TRUE(all_channels_free());  // those of tests before, too
  long count = sysfs_number("channels");
  std::vector<std::thread> users;
  for (long i = 0; i < count; i++) {
    users.emplace_back([i] {
      Fd fd = open_with("echo");
      std::uint32_t seed = static_cast<std::uint32_t>(i);
      for (int round = 0; round < 20; round++) {
        std::string data = random_bytes(1 + (seed * 7919 + 1) % 30000, seed);
        write_all(fd.get(), data);
        ASSERT_TRUE(read_count(fd.get(), data.size()) == data) << i;
        seed = seed * 1664525 + 1013904223;
      }
    });
  }
  for (std::thread& user : users) user.join();
  EXPECT_TRUE(all_channels_free());
}

TEST(Stream, TwoProcessesShareADescriptor) {
  Fd fd = open_with("echo");
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool ok = ::write(fd.get(), "child", 5) == 5;
    ::_exit(ok ? 0 : 1);
  }
  EXPECT_EQ(read_count(fd.get(), 5), "child");
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  write_all(fd.get(), "parent");  // the child's exit has not closed it
  EXPECT_EQ(read_count(fd.get(), 6), "parent");
}

TEST(Stream, FsyncWithNothingWrittenReturns) {
  Fd fd = open_channel();
  EXPECT_EQ(::fsync(fd.get()), 0);
  EXPECT_EQ(::fdatasync(fd.get()), 0);
}

}  // namespace
}  // namespace lanecall::guest_tests
