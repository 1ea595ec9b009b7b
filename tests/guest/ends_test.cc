// SPDX-License-Identifier: Apache-2.0
// Every end: the server's, the client's, the device's, the module's.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "channel.h"

namespace lanecall::guest_tests {
namespace {

// What the peer has collected under a token, once that connection has ended.
std::string report(const std::string& token) {
  Fd fd = open_with("report " + token);
  return read_to_end(fd.get());
}

std::string report_of(const std::string& data) {
  return std::to_string(data.size()) + " " + std::to_string(crc32(data)) + "\n";
}

TEST(Ends, AServerThatClosesIsReadToItsEnd) {
  Fd fd = open_with("send 700000");
  EXPECT_TRUE(read_to_end(fd.get()) == pattern(0, 700000));
  char byte = 0;
  EXPECT_EQ(::read(fd.get(), &byte, 1), 0);
  EXPECT_EQ(::write(fd.get(), &byte, 1), -1);  // and no SIGPIPE
  EXPECT_EQ(errno, EPIPE);
  short events = poll_for(fd.get(), POLLIN | POLLOUT);
  EXPECT_TRUE(events & POLLHUP);
  EXPECT_TRUE(events & POLLIN);
  EXPECT_FALSE(events & POLLERR);
}

TEST(Ends, AProgramThatSelectsForWritingSeesTheEnd) {
  Fd fd = open_with("hangup");
  write_all(fd.get(), "x");
  char byte = 0;
  EXPECT_EQ(::read(fd.get(), &byte, 1), 0);
  fd_set writable;
  FD_ZERO(&writable);
  FD_SET(fd.get(), &writable);
  timeval limit{kSoon.count(), 0};
  EXPECT_EQ(::select(fd.get() + 1, nullptr, &writable, nullptr, &limit), 1);
}

TEST(Ends, ASleepingReaderSeesTheEnd) {
  Fd fd = open_with("hangup");
  std::thread reader([&] {
    char byte = 0;
    EXPECT_EQ(::read(fd.get(), &byte, 1), 0);
  });
  write_all(fd.get(), "x");
  reader.join();
}

TEST(Ends, ABrokenConnectionIsReset) {
  Fd fd = open_with("reset", kTcpPeer);
  write_all(fd.get(), "x");
  char byte = 0;
  EXPECT_EQ(::read(fd.get(), &byte, 1), -1);
  EXPECT_EQ(errno, ECONNRESET);
  EXPECT_EQ(::write(fd.get(), &byte, 1), -1);
  EXPECT_EQ(errno, EPIPE);
  short events = poll_for(fd.get(), POLLIN);
  EXPECT_TRUE(events & POLLERR);
  EXPECT_TRUE(events & POLLHUP);
  EXPECT_EQ(status_of(fd.get()).error, ECONNRESET);
}

TEST(Ends, CloseSendsWhatWasWritten) {
  std::string data = random_bytes(250000, 11);
  Fd fd = open_with("collect closed");
  write_all(fd.get(), data);
  fd.reset();
  EXPECT_EQ(report("closed"), report_of(data));
}

TEST(Ends, AKilledClientsBytesAreSentAndItsChannelFreed) {
  std::string data = random_bytes(200000, 12);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Fd fd = open_with("collect killed");
    write_all(fd.get(), data);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(report("killed"), report_of(data));
  EXPECT_TRUE(all_channels_free());
}

TEST(Ends, CloseNeverBlocksAndDrainingHasABound) {
  const std::string parameter = "/sys/module/lanecall/parameters/drain_ms";
  ASSERT_TRUE(write_file(parameter, "300"));
  ASSERT_TRUE(all_channels_free());
  Fd fd = open_with("mute");
  ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
  std::string block(65536, 'x');
  do {
    while (::write(fd.get(), block.data(), block.size()) > 0) {
    }
  } while (poll_for(fd.get(), POLLOUT, std::chrono::milliseconds(200)));
  fd.reset();
  // The server takes nothing, so the channel is still there: close has not
  // waited for it. The bound then ends it.
  EXPECT_EQ(sysfs("channel0/state"), "draining");
  EXPECT_EQ(sysfs_number("channels_in_use"), 1);
  EXPECT_TRUE(all_channels_free());
  EXPECT_TRUE(write_file(parameter, "5000"));
  Fd release = open_with("release");
  EXPECT_EQ(read_count(release.get(), 9), "released\n");
}

TEST(Ends, TheModuleStaysWhileAChannelIsOpen) {
  Fd fd = open_channel();
  EXPECT_EQ(::syscall(SYS_delete_module, "lanecall", O_NONBLOCK), -1);
  EXPECT_EQ(errno, EAGAIN);
}

// ---- The device goes away --------------------------------------------------

std::string pci_folder() {
  Fd fd = open_channel();
  return std::string("/sys/bus/pci/devices/") + info_of(fd.get()).device;
}

void expect_dead(int fd) {
  char byte = 0;
  EXPECT_EQ(::read(fd, &byte, 1), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(::write(fd, &byte, 1), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(::fsync(fd), -1);
  EXPECT_EQ(errno, EIO);
  lanecall_info info{};
  EXPECT_EQ(::ioctl(fd, LANECALL_IOC_INFO, &info), -1);
  EXPECT_EQ(errno, EIO);
  lanecall_channel_status status{};
  EXPECT_EQ(::ioctl(fd, LANECALL_IOC_STATUS, &status), -1);
  EXPECT_EQ(errno, EIO);
  lanecall_ring_sizes sizes{4096, 4096};
  EXPECT_EQ(::ioctl(fd, LANECALL_IOC_SET_RINGS, &sizes), -1);
  EXPECT_EQ(errno, EIO);
  short events = poll_for(fd, POLLIN | POLLOUT);
  EXPECT_TRUE(events & POLLERR);
  EXPECT_TRUE(events & POLLHUP);
}

// Channels in every state, with sleepers in read, write, poll, fsync and open,
// while `take_away` runs. All must end with an error; none may be lost.
void expect_all_end(const std::function<void()>& take_away) {
  Fd reading = open_with("echo");
  Fd writing = open_with("mute");
  Fd polling = open_with("echo");
  Fd ready = open_channel();
  Fd connecting = open_channel(kNoAnswer, O_NONBLOCK);
  char byte = 0;
  std::atomic<int> started{0};
  std::thread reader([&] {
    started++;
    EXPECT_EQ(::read(reading.get(), &byte, 1), -1);
    EXPECT_EQ(errno, EIO);
  });
  std::thread writer([&] {
    std::string data(32 << 20, 'x');
    started++;
    ssize_t n = ::write(writing.get(), data.data(), data.size());
    EXPECT_LT(n, static_cast<ssize_t>(data.size()));
  });
  std::thread poller([&] {
    started++;
    short events = poll_for(polling.get(), POLLIN);
    EXPECT_TRUE(events & POLLERR);
    EXPECT_TRUE(events & POLLHUP);
  });
  EXPECT_TRUE(eventually([&] { return started == 3; }));
  // The writer sleeps for room.
  EXPECT_TRUE(eventually([&] {
    return poll_for(writing.get(), POLLOUT, std::chrono::milliseconds(0)) == 0;
  }));
  take_away();
  reader.join();
  writer.join();
  poller.join();
  for (const Fd* fd : {&reading, &writing, &polling, &ready})
    expect_dead(fd->get());
  EXPECT_EQ(status_of(connecting.get()).state, unsigned{LANECALL_CONNECTING})
      << "another device's channel is not concerned";
}

void expect_works() {
  Fd fd = open_with("echo");
  write_all(fd.get(), "again");
  EXPECT_EQ(read_count(fd.get(), 5), "again");
}

TEST(Ends, UnbindingEndsEveryChannelAndBindingBringsTheDeviceBack) {
  std::string pci = pci_folder();
  std::string address = pci.substr(pci.rfind('/') + 1);
  Fd old = open_channel(kPeer, O_NONBLOCK);
  expect_all_end([&] {
    EXPECT_TRUE(write_file("/sys/bus/pci/drivers/lanecall/unbind", address));
    EXPECT_EQ(::open(kPeer, O_RDWR), -1);
    EXPECT_EQ(errno, ENOENT);
  });
  EXPECT_TRUE(write_file("/sys/bus/pci/drivers/lanecall/bind", address));
  expect_works();  // under the same name, although old is still open
  expect_dead(old.get());
  EXPECT_TRUE(all_channels_free());
}

TEST(Ends, AFunctionResetEndsEveryChannelAndNewOnesWork) {
  std::string pci = pci_folder();
  long generation = sysfs_number("generation");
  expect_all_end([&] { EXPECT_TRUE(write_file(pci + "/reset", "1")); });
  EXPECT_GT(sysfs_number("generation"), generation);
  EXPECT_EQ(sysfs_number("channels_in_use"), 0);
  expect_works();
}

// A page whose first access waits until resolve(): a call that is given it
// stands still in the middle of its copy, for as long as the test likes.
class StuckPage {
 public:
  StuckPage()
      : page_(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
        faults_(static_cast<int>(
            ::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK))) {
    uffdio_api api{};
    api.api = UFFD_API;
    EXPECT_EQ(::ioctl(faults_.get(), UFFDIO_API, &api), 0);
    uffdio_register range{};
    range.range = {reinterpret_cast<std::uintptr_t>(page_), kBytes};
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    EXPECT_EQ(::ioctl(faults_.get(), UFFDIO_REGISTER, &range), 0);
  }
  ~StuckPage() { ::munmap(page_, kBytes); }
  StuckPage(const StuckPage&) = delete;
  StuckPage& operator=(const StuckPage&) = delete;

  void* data() const { return page_; }
  bool waitUntilStuck() const { return poll_for(faults_.get(), POLLIN) != 0; }
  void resolve() const {
    uffdio_zeropage zero{};
    zero.range = {reinterpret_cast<std::uintptr_t>(page_), kBytes};
    EXPECT_EQ(::ioctl(faults_.get(), UFFDIO_ZEROPAGE, &zero), 0);
  }

 private:
  static constexpr std::size_t kBytes = 4096;
  void* page_;
  Fd faults_;
};

TEST(Ends, CallsStuckInAPageFaultHoldNobodyUp) {
  std::string pci = pci_folder();
  std::string address = pci.substr(pci.rfind('/') + 1);
  Fd reading = open_with("echo");
  Fd writing = open_with("echo");
  StuckPage read_to;
  StuckPage written_from;
  write_all(reading.get(), "x");
  std::thread reader([&] {
    EXPECT_EQ(::read(reading.get(), read_to.data(), 1), -1);
    EXPECT_EQ(errno, EIO);
  });
  std::thread writer([&] {
    EXPECT_EQ(::write(writing.get(), written_from.data(), 1), -1);
    EXPECT_EQ(errno, EIO);
  });
  EXPECT_TRUE(read_to.waitUntilStuck());
  EXPECT_TRUE(written_from.waitUntilStuck());
  expect_works();
  EXPECT_TRUE(write_file("/sys/bus/pci/drivers/lanecall/unbind", address));
  EXPECT_TRUE(write_file("/sys/bus/pci/drivers/lanecall/bind", address));
  expect_works();
  read_to.resolve();
  written_from.resolve();
  reader.join();
  writer.join();
}

TEST(Ends, UnbindingUnderLoadManyTimes) {
  std::string pci = pci_folder();
  std::string address = pci.substr(pci.rfind('/') + 1);
  for (int round = 0; round < often(20); round++) {
    std::vector<std::thread> users;
    std::atomic<int> busy{0};
    for (int i = 0; i < 4; i++) {
      users.emplace_back([&] {
        Fd fd = open_with("echo");
        std::string data(30000, 'x');
        std::string back(data.size(), '\0');
        bool counted = false;
        while (::write(fd.get(), data.data(), data.size()) > 0 &&
               ::read(fd.get(), back.data(), back.size()) > 0) {
          if (!counted) busy++;
          counted = true;
        }
        EXPECT_EQ(errno, EIO);
      });
    }
    EXPECT_TRUE(eventually([&] { return busy == 4; }));
    EXPECT_TRUE(write_file("/sys/bus/pci/drivers/lanecall/unbind", address));
    for (std::thread& user : users) user.join();
    EXPECT_TRUE(write_file("/sys/bus/pci/drivers/lanecall/bind", address));
  }
  expect_works();
}

}  // namespace
}  // namespace lanecall::guest_tests
