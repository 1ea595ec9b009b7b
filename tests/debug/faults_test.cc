// SPDX-License-Identifier: Apache-2.0
// Every allocation that an operation of the driver makes fails once. The
// operation then fails in order or does without; what it had taken until then
// comes back; and the next one works. What the kernel's checkers say, and what
// leaked, fails the guest.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <set>
#include <string>

#include "../guest/lending.h"
#include "../guest/mapping.h"
#include "failing_allocation.h"
#include "settings.h"

namespace lanecall::debug_tests {
namespace {

using namespace guest_tests;

void expect_works() {
  Fd fd = open_with("echo");
  write_all(fd.get(), "again");
  EXPECT_EQ(read_count(fd.get(), 5), "again");
}

int result(long returned) { return returned < 0 ? errno : 0; }

class Faults : public ::testing::Test {
 protected:
  void SetUp() override { allow_failing_allocations(); }
  void TearDown() override {
    EXPECT_TRUE(all_channels_free());
    EXPECT_EQ(pinned_pages(), 0U);
    expect_works();
  }

  // Fails each allocation of operation() in turn, but at most `most`: it
  // returns 0 or an errno value, one of `errors` if an allocation failed. What
  // comes before and after it runs undisturbed.
  void fail_each(
      const std::function<int()>& operation, const std::set<int>& errors,
      const std::function<void()>& after, int most = 10000,
      const std::function<void()>& before = [] {}) {
    FailingAllocation failing;
    int failed = 0;
    int refused = 0;
    for (int n = 1; n <= most && !HasFailure(); n++) {
      before();
      failing.arm(n);
      const int error = operation();
      const bool hit = failing.disarm();
      if (error != 0) refused++;
      if (hit) {
        failed++;
        EXPECT_TRUE(error == 0 || errors.count(error))
            << "allocation " << n << ": " << std::strerror(error);
      } else {
        EXPECT_EQ(error, 0) << "nothing failed: " << std::strerror(error);
      }
      after();
      if (!hit) break;
    }
    std::printf("%d allocations failed, %d operations refused\n", failed,
                refused);
    EXPECT_GT(failed, 0);
  }
};

TEST_F(Faults, InOpen) {
  expect_works();  // what is allocated once, is
  Fd fd;
  fail_each(
      [&] {
        fd.reset(::open(kPeer, O_RDWR | O_CLOEXEC));
        return result(fd.get());
      },
      {ENOMEM, ENFILE}, [&] { fd.reset(); });
}

// The rings come with the first byte.
TEST_F(Faults, InTheFirstWrite) {
  Fd fd;
  auto before = [&] {
    fd = open_channel();
    lanecall_ring_sizes sizes{info_of(fd.get()).ring_bytes_min,
                              info_of(fd.get()).ring_bytes_min};
    EXPECT_EQ(::ioctl(fd.get(), LANECALL_IOC_SET_RINGS, &sizes), 0);
  };
  fail_each([&] { return result(::write(fd.get(), "echo\n", 5)); }, {ENOMEM},
            [&] { fd.reset(); }, 10000, before);
}

TEST_F(Faults, InMapping) {
  if (!mapped_mode_is_there()) GTEST_SKIP() << "no mapped mode";
  Fd fd;
  lanecall_mapping map{};
  fail_each([&] { return choose_mapped(fd.get(), &map); }, {ENOMEM},
            [&] { fd.reset(); }, 10000,
            [&] {
              fd = open_channel();
              lanecall_ring_sizes sizes{4096, 4096};
              ::ioctl(fd.get(), LANECALL_IOC_SET_RINGS, &sizes);
            });

  fd = open_channel();
  ASSERT_EQ(choose_mapped(fd.get(), &map), 0);
  void* mapped = MAP_FAILED;
  for (auto [offset, bytes, touched] :
       {std::tuple(map.status_offset, std::uint64_t{map.page_bytes}, true),
        std::tuple(map.doorbell_offset, std::uint64_t{map.page_bytes}, false),
        std::tuple(map.tx_offset, std::uint64_t{map.tx_bytes} * 2, true)}) {
    fail_each(
        [&, offset = offset, bytes = bytes] {
          mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                          fd.get(), static_cast<off_t>(offset));
          return mapped == MAP_FAILED ? errno : 0;
        },
        {ENOMEM},
        [&, bytes = bytes, touched = touched] {
          if (mapped == MAP_FAILED) return;
          if (touched) static_cast<volatile char*>(mapped)[bytes - 1];
          EXPECT_EQ(::munmap(mapped, bytes), 0);
        });
  }
}

TEST_F(Faults, InRegister) {
  if (!device_takes_regions()) GTEST_SKIP() << "the device takes no regions";
  // In pieces, so that the table takes more than one page.
  std::vector<Memory> memory = interleaved(600 * kPage);
  std::memset(memory[0].data(), 1, memory[0].bytes());
  Fd fd = open_channel();
  lanecall_region_registration wanted{};
  fail_each(
      [&] {
        wanted = {};
        wanted.address = reinterpret_cast<std::uintptr_t>(memory[0].data());
        wanted.bytes = memory[0].bytes();
        wanted.access = kBoth;
        return register_region(fd.get(), &wanted);
      },
      {ENOMEM},
      [&] {
        if (wanted.key != 0) {
          EXPECT_EQ(unregister_region(fd.get(), wanted.region), 0);
        }
        EXPECT_EQ(regions_in_use(), 0);
        EXPECT_EQ(pinned_pages(), 0U);
      });
}

// Nothing is allocated for a message.
TEST_F(Faults, NoneInTransfers) {
  Fd fd = open_with("echo");
  write_all(fd.get(), "warm");
  ASSERT_EQ(read_count(fd.get(), 4), "warm");
  char back[4];
  FailingAllocation failing;
  failing.arm(1);
  const ssize_t sent = ::write(fd.get(), "call", 4);
  pollfd readable{fd.get(), POLLIN, 0};
  const int polled = ::poll(&readable, 1, 30000);
  const ssize_t received = ::read(fd.get(), back, 4);
  EXPECT_FALSE(failing.disarm()) << "something was allocated";
  EXPECT_EQ(sent, 4);
  EXPECT_EQ(polled, 1);
  EXPECT_EQ(received, 4);
}

TEST_F(Faults, InProbe) {
  const std::string address = info_of(open_channel().get()).device;
  const std::string driver = "/sys/bus/pci/drivers/lanecall/";
  Fd bind;
  bool bound = true;
  auto unbind = [&] {
    ASSERT_TRUE(write_file(driver + "unbind", address));
    bind.reset(::open((driver + "bind").c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_TRUE(bind);
  };
  fail_each(
      [&] {
        const int error =
            result(::write(bind.get(), address.data(), address.size()));
        bound = error == 0;
        return error;
      },
      {ENOMEM, ENODEV, ENOSPC, EIO},
      [&] {
        if (!bound) {
          ASSERT_TRUE(write_file(driver + "bind", address));
        }
        expect_works();
      },
      settings().faults, unbind);
}

}  // namespace
}  // namespace lanecall::debug_tests
