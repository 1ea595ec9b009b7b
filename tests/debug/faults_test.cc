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
#include <iterator>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

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

// Which of so many allocations to fail: all, or a random choice of them.
std::vector<int> chosen(int count, int most, std::mt19937_64& random) {
  std::vector<int> all(static_cast<std::size_t>(count));
  std::iota(all.begin(), all.end(), 1);
  std::vector<int> some;
  std::sample(all.begin(), all.end(), std::back_inserter(some), most, random);
  return some;
}

// What fails an allocation of: it returns 0 or an errno value, one of `errors`
// if an allocation failed. What comes before and after it runs undisturbed.
struct Operation {
  std::function<int()> run;
  std::set<int> errors;
  std::function<void()> after = [] {};
  std::function<void()> before = [] {};
};

class Faults : public ::testing::Test {
 protected:
  static void TearDownTestSuite() {
    std::printf("%d allocations failed in all\n", inAll_);
  }
  void SetUp() override { allow_failing_allocations(); }
  void TearDown() override {
    EXPECT_TRUE(all_channels_free());
    EXPECT_EQ(pinned_pages(), 0U);
    expect_works();
  }

  // Fails each allocation of the operation in turn, or as many as are wanted.
  void fail_each(const Operation& operation) {
    const int count = allocations_of(operation);
    int failed = 0;
    int refused = 0;
    for (int n : chosen(count, settings().faults, random_)) {
      operation.before();
      failing_.arm(n);
      const int error = operation.run();
      const bool hit = failing_.disarm();
      if (error != 0) refused++;
      if (hit) failed++;
      EXPECT_TRUE(error == 0 || (hit && operation.errors.count(error)))
          << "allocation " << n << (hit ? ": " : ", which there was not: ")
          << std::strerror(error);
      operation.after();
      if (HasFailure()) break;
    }
    std::printf("%d of %d allocations failed, %d operations refused\n", failed,
                count, refused);
    EXPECT_GT(failed, 0);
    inAll_ += failed;
  }

 private:
  int allocations_of(const Operation& operation) {
    operation.before();
    failing_.arm(kMany);
    EXPECT_EQ(operation.run(), 0) << "nothing failed";
    const int count = kMany - failing_.left();
    operation.after();
    return count;
  }

  static constexpr int kMany = 1'000'000;
  static inline int inAll_ = 0;
  FailingAllocation failing_;
  std::mt19937_64 random_{settings().seed};
};

TEST_F(Faults, InOpen) {
  expect_works();  // what is allocated once, is
  Fd fd;
  fail_each({.run =
                 [&] {
                   fd.reset(::open(kPeer, O_RDWR | O_CLOEXEC));
                   return result(fd.get());
                 },
             .errors = {ENOMEM, ENFILE},
             .after = [&] { fd.reset(); }});
}

// A channel whose rings are as small as can be.
Fd open_small() {
  Fd fd = open_channel();
  const std::uint32_t least = info_of(fd.get()).ring_bytes_min;
  lanecall_ring_sizes sizes{least, least};
  EXPECT_EQ(::ioctl(fd.get(), LANECALL_IOC_SET_RINGS, &sizes), 0);
  return fd;
}

// The rings come with the first byte.
TEST_F(Faults, InTheFirstWrite) {
  Fd fd;
  fail_each({.run = [&] { return result(::write(fd.get(), "echo\n", 5)); },
             .errors = {ENOMEM},
             .after = [&] { fd.reset(); },
             .before = [&] { fd = open_small(); }});
}

TEST_F(Faults, InChoosingToMap) {
  if (!mapped_mode_is_there()) GTEST_SKIP() << "no mapped mode";
  Fd fd;
  lanecall_mapping map{};
  fail_each({.run = [&] { return choose_mapped(fd.get(), &map); },
             .errors = {ENOMEM},
             .after = [&] { fd.reset(); },
             .before = [&] { fd = open_small(); }});
}

TEST_F(Faults, InMmap) {
  if (!mapped_mode_is_there()) GTEST_SKIP() << "no mapped mode";
  Fd fd = open_channel();
  lanecall_mapping map{};
  ASSERT_EQ(choose_mapped(fd.get(), &map), 0);
  struct {
    std::uint64_t offset;
    std::uint64_t bytes;
    bool readable;
  } const parts[] = {{map.status_offset, map.page_bytes, true},
                     {map.doorbell_offset, map.page_bytes, false},
                     {map.tx_offset, map.tx_bytes * 2UL, true}};
  for (const auto& part : parts) {
    void* mapped = MAP_FAILED;
    fail_each({.run =
                   [&] {
                     mapped = ::mmap(nullptr, part.bytes,
                                     PROT_READ | PROT_WRITE, MAP_SHARED,
                                     fd.get(), static_cast<off_t>(part.offset));
                     return mapped == MAP_FAILED ? errno : 0;
                   },
               .errors = {ENOMEM},
               .after =
                   [&] {
                     if (mapped == MAP_FAILED) return;
                     auto* bytes = static_cast<volatile char*>(mapped);
                     if (part.readable) (void)bytes[part.bytes - 1];
                     EXPECT_EQ(::munmap(mapped, part.bytes), 0);
                   }});
  }
}

TEST_F(Faults, InRegister) {
  if (!device_takes_regions()) GTEST_SKIP() << "the device takes no regions";
  // In pieces, so that the table takes more than one page.
  std::vector<Memory> memory = interleaved(300 * kPage);
  Fd fd = open_channel();
  lanecall_region_registration wanted{};
  int error = 0;
  fail_each({.run =
                 [&] {
                   wanted = {};
                   wanted.address =
                       reinterpret_cast<std::uintptr_t>(memory[0].data());
                   wanted.bytes = memory[0].bytes();
                   wanted.access = kBoth;
                   return error = register_region(fd.get(), &wanted);
                 },
             .errors = {ENOMEM},
             .after =
                 [&] {
                   if (error == 0) {
                     EXPECT_EQ(unregister_region(fd.get(), wanted.region), 0);
                   }
                   EXPECT_EQ(regions_in_use(), 0);
                   EXPECT_EQ(pinned_pages(), 0U);
                 }});
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
  // The kernel's own part, with ACPI, does not survive failures: it comes
  // before.
  ASSERT_TRUE(write_file(driver + "unbind", address));
  ASSERT_TRUE(write_file("/sys/bus/pci/devices/" + address + "/enable", "1"));
  ASSERT_TRUE(write_file(driver + "bind", address));
  Fd bind(::open((driver + "bind").c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(bind);
  bool bound = true;
  fail_each(
      {.run =
           [&] {
             const int error =
                 result(::write(bind.get(), address.data(), address.size()));
             bound = error == 0;
             return error;
           },
       // devm_memremap() says ENXIO whatever it was short of, and
       // pci_request_region() EBUSY.
       .errors = {ENOMEM, ENODEV, ENOSPC, ENXIO, EIO, EBUSY},
       .after =
           [&] {
             if (!bound) {
               EXPECT_TRUE(write_file(driver + "bind", address));
             }
             expect_works();
           },
       .before = [&] { EXPECT_TRUE(write_file(driver + "unbind", address)); }});
}

}  // namespace
}  // namespace lanecall::debug_tests
