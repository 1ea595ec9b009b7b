// SPDX-License-Identifier: Apache-2.0
// Regions: which memory can be lent, what it counts as, who can take it back,
// and that it comes back at every end. dma_test.cc has what the device does
// with it.
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "lending.h"

namespace lanecall::guest_tests {
namespace {

class Regions : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!device_takes_regions()) GTEST_SKIP() << "the device takes no regions";
    EXPECT_EQ(regions_in_use(), 0);
    EXPECT_EQ(pinned_pages(), 0U);
  }
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(regions_in_use(), 0);
    EXPECT_EQ(pinned_pages(), 0U);
  }
};

TEST(NoRegions, ADeviceThatTakesNoneSaysSo) {
  if (device_takes_regions()) GTEST_SKIP() << "the device takes regions";
  EXPECT_EQ(sysfs_number("regions"), 0);
  Memory memory(kPage);
  Fd fd = open_channel();
  lanecall_region_registration wanted{};
  wanted.address = reinterpret_cast<std::uintptr_t>(memory.data());
  wanted.bytes = memory.bytes();
  wanted.access = kBoth;
  EXPECT_EQ(register_region(fd.get(), &wanted), EOPNOTSUPP);
  EXPECT_EQ(unregister_region(fd.get(), 0), ENOENT);
  EXPECT_EQ(sync_region(fd.get(), 0, LANECALL_SYNC_FOR_CPU, 0, 1), ENOENT);
  EXPECT_EQ(pinned_pages(), 0U);
}

// ---- Lending and taking back ----------------------------------------------

TEST_F(Regions, MemoryIsPinnedUntilItIsUnregistered) {
  Memory memory(30 * kPage);
  Fd fd = open_channel();
  lanecall_region_registration first =
      lend(fd.get(), memory.data(), 10 * kPage);
  EXPECT_NE(first.key, 0U);
  EXPECT_EQ(first.device, 0U);
  EXPECT_EQ(regions_in_use(), 1);
  EXPECT_EQ(pinned_pages(), 10U);
  lanecall_region_registration second =
      lend(fd.get(), memory.data() + 10 * kPage, 20 * kPage, kReadable);
  EXPECT_NE(second.key, first.key);
  EXPECT_NE(second.region, first.region);
  EXPECT_EQ(pinned_pages(), 30U);
  EXPECT_EQ(unregister_region(fd.get(), first.region), 0);
  EXPECT_EQ(regions_in_use(), 1);
  EXPECT_EQ(pinned_pages(), 20U);
  EXPECT_EQ(unregister_region(fd.get(), second.region), 0);
}

// A kernel that checks users of the DMA API (CONFIG_DMA_API_DEBUG) complains:
// only where memory is coherent does it have a meaning.
TEST_F(Regions, TheSameMemoryCanBeLentTwice) {
  Memory memory(4 * kPage);
  Fd fd = open_channel();
  lanecall_region_registration first = lend(fd.get(), memory);
  lanecall_region_registration second = lend(fd.get(), memory);
  EXPECT_NE(second.key, first.key);
  EXPECT_EQ(pinned_pages(), 8U);
}

TEST_F(Regions, CloseTakesAllBack) {
  Memory memory(100 * kPage);
  Fd fd = open_channel();
  for (int i = 0; i < 100; i++)
    lend(fd.get(), memory.data() + i * kPage, kPage);
  EXPECT_EQ(regions_in_use(), 100);
  fd.reset();
  EXPECT_EQ(regions_in_use(), 0);  // not eventually: close has waited
}

TEST_F(Regions, StayUntilTheLastDescriptorIsClosed) {
  Memory memory(kPage);
  Fd fd = open_channel();
  Fd copy(::dup(fd.get()));
  lanecall_region_registration region = lend(fd.get(), memory);
  fd.reset();
  EXPECT_EQ(regions_in_use(), 1);
  EXPECT_EQ(unregister_region(copy.get(), region.region), 0);
  lend(copy.get(), memory);
}

TEST_F(Regions, StayLentWhenTheProgramUnmapsThem) {
  Fd fd = open_channel();
  lanecall_region_registration region{};
  {
    Memory memory(4 * kPage);
    region = lend(fd.get(), memory);
  }
  EXPECT_EQ(pinned_pages(), 4U);
  EXPECT_EQ(unregister_region(fd.get(), region.region), 0);
}

TEST_F(Regions, OnlyTheOpenThatHasARegionCanNameIt) {
  Memory memory(kPage);
  Fd fd = open_channel();
  Fd other = open_channel();
  lanecall_region_registration region = lend(fd.get(), memory);
  for (std::uint32_t wrong : {region.region + 1, ~0U}) {
    EXPECT_EQ(unregister_region(fd.get(), wrong), ENOENT);
    EXPECT_EQ(sync_region(fd.get(), wrong, LANECALL_SYNC_FOR_CPU, 0, 1),
              ENOENT);
  }
  EXPECT_EQ(unregister_region(other.get(), region.region), ENOENT);
  EXPECT_EQ(
      sync_region(other.get(), region.region, LANECALL_SYNC_FOR_CPU, 0, 1),
      ENOENT);
  EXPECT_EQ(unregister_region(fd.get(), region.region), 0);
  EXPECT_EQ(unregister_region(fd.get(), region.region), ENOENT);
}

TEST_F(Regions, AKilledProgramsMemoryComesBack) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Memory memory(200 * kPage);
    Fd fd = open_channel();
    for (int i = 0; i < 20; i++)
      lend(fd.get(), memory.data() + i * 10 * kPage, 10 * kPage);
    char byte = pinned_pages() == 200 ? 'y' : 'n';
    [[maybe_unused]] ssize_t n = ::write(ready[1], &byte, 1);
    ::pause();
  }
  char byte = 0;
  EXPECT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  EXPECT_EQ(regions_in_use(), 20);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(eventually([] { return regions_in_use() == 0; }));
  ::close(ready[0]);
  ::close(ready[1]);
}

// ---- What can be lent -------------------------------------------------------

TEST_F(Regions, AnyAddressAndLengthWillDo) {
  Memory memory(4 * kPage);
  Fd fd = open_channel();
  for (std::size_t start : {0UL, 1UL, 4095UL, 4096UL, 5000UL}) {
    for (std::size_t bytes : {1UL, 2UL, 4095UL, 4096UL, 4097UL, 8192UL}) {
      lanecall_region_registration region =
          lend(fd.get(), memory.data() + start, bytes);
      std::size_t end = start + bytes;
      EXPECT_EQ(pinned_pages(), (end + kPage - 1) / kPage - start / kPage)
          << start << "+" << bytes;
      EXPECT_EQ(unregister_region(fd.get(), region.region), 0);
    }
  }
}

TEST_F(Regions, WishesThatCannotBeAreRefused) {
  Memory memory(2 * kPage);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  Fd fd = open_channel();
  EXPECT_EQ(errno_of(fd.get(), address, 0), EINVAL);
  EXPECT_EQ(errno_of(fd.get(), address, kPage, 0), EINVAL);
  EXPECT_EQ(errno_of(fd.get(), address, kPage, 4), EINVAL);
  EXPECT_EQ(errno_of(fd.get(), address, kPage, kBoth | 1U << 31), EINVAL);
  EXPECT_EQ(errno_of(fd.get(), address, kPage, kBoth, 2), EINVAL);
  for (std::uint64_t bytes : {~0ULL, ~0ULL - 4094, ~0ULL << 12}) {
    int error = errno_of(fd.get(), address + 1, bytes);
    EXPECT_TRUE(error == EINVAL || error == ENOMEM) << bytes << ": " << error;
  }
  EXPECT_EQ(::ioctl(fd.get(), LANECALL_IOC_REGION_REGISTER, nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
}

TEST_F(Regions, MemoryThatIsNotThereIsRefusedWhole) {
  Memory memory(16 * kPage);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  ::munmap(memory.data() + 10 * kPage, kPage);
  Fd fd = open_channel();
  EXPECT_EQ(errno_of(fd.get(), 0, kPage), EFAULT);
  EXPECT_EQ(errno_of(fd.get(), ~0UL << 63, kPage), EFAULT);  // the kernel's
  EXPECT_EQ(errno_of(fd.get(), address + 10 * kPage, 1), EFAULT);
  EXPECT_EQ(errno_of(fd.get(), address, 16 * kPage), EFAULT);
  EXPECT_EQ(pinned_pages(), 0U);
}

TEST_F(Regions, OnlyWhatTheProgramMayWriteCanBeWrittenByTheDevice) {
  Memory memory(4 * kPage);
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  ASSERT_EQ(::mprotect(memory.data() + 2 * kPage, kPage, PROT_READ), 0);
  ASSERT_EQ(::mprotect(memory.data() + 3 * kPage, kPage, PROT_NONE), 0);
  Fd fd = open_channel();
  EXPECT_EQ(errno_of(fd.get(), address, 3 * kPage, kWritable), EFAULT);
  EXPECT_EQ(errno_of(fd.get(), address, 3 * kPage, kBoth), EFAULT);
  EXPECT_EQ(errno_of(fd.get(), address, 3 * kPage, kReadable), 0);
  EXPECT_EQ(errno_of(fd.get(), address, 4 * kPage, kReadable), EFAULT);
}

TEST_F(Regions, ABarCannotBeLent) {
  Fd fd = open_channel();
  lanecall_mapping map{};
  if (::ioctl(fd.get(), LANECALL_IOC_MAP, &map) != 0)
    GTEST_SKIP() << "this machine's memory cannot be shared with the device";
  void* doorbell = ::mmap(nullptr, map.page_bytes, PROT_WRITE, MAP_SHARED,
                          fd.get(), static_cast<off_t>(map.doorbell_offset));
  ASSERT_NE(doorbell, MAP_FAILED);
  EXPECT_EQ(errno_of(fd.get(), reinterpret_cast<std::uintptr_t>(doorbell), 4),
            EFAULT);
  ::munmap(doorbell, map.page_bytes);
}

TEST_F(Regions, SharedMemoryCanBeLent) {
  Fd file(::memfd_create("region", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 8 * kPage), 0);
  Memory memory(8 * kPage, file.get(), MAP_SHARED);
  Fd fd = open_channel();
  lend(fd.get(), memory);
  EXPECT_EQ(pinned_pages(), 8U);
}

TEST_F(Regions, HugePagesCanBeLent) {
  const std::size_t huge = 2 << 20;
  ASSERT_TRUE(write_file("/proc/sys/vm/nr_hugepages", "4"));
  Fd file(::memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB));
  ASSERT_TRUE(file);
  ASSERT_EQ(::ftruncate(file.get(), 2 * huge), 0);
  {
    Memory memory(2 * huge, file.get(), MAP_SHARED);
    Fd fd = open_channel();
    lend(fd.get(), memory.data() + 100, 2 * huge - 200);
    EXPECT_EQ(pinned_pages(), 2 * huge / kPage);
  }
  file.reset();
  EXPECT_TRUE(write_file("/proc/sys/vm/nr_hugepages", "0"));
}

// More extents than fit into one page of the table, many times.
TEST_F(Regions, ScatteredPagesCanBeLent) {
  std::vector<Memory> both = interleaved(16 << 20);
  Fd fd = open_channel();
  for (const Memory& each : both) lend(fd.get(), each);
  EXPECT_EQ(pinned_pages(), 2 * (16 << 20) / kPage);
}

// ---- Limits
// --------------------------------------------------------------------

TEST_F(Regions, CountAgainstTheLimitOfLockedMemory) {
  Fd fd = open_channel();
  Fd other = open_channel();
  EXPECT_EQ(as_user(kNobody,
                    [&] {
                      rlimit limit{16 * kPage, 16 * kPage};
                      if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 1;
                      Memory memory(17 * kPage);
                      auto at = reinterpret_cast<std::uintptr_t>(memory.data());
                      if (errno_of(fd.get(), at, 17 * kPage) != ENOMEM)
                        return 2;
                      lanecall_region_registration most =
                          lend(fd.get(), memory.data(), 16 * kPage);
                      if (errno_of(fd.get(), at, 1) != ENOMEM) return 3;
                      // One limit for all of a user's programs and descriptors.
                      pid_t child = ::fork();
                      if (child == 0)
                        ::_exit(errno_of(other.get(), at, 1) == ENOMEM ? 0 : 1);
                      int status = -1;
                      ::waitpid(child, &status, 0);
                      if (status != 0) return 4;
                      if (unregister_region(fd.get(), most.region) != 0)
                        return 5;
                      if (errno_of(fd.get(), at, 16 * kPage) != 0) return 6;
                      return 0;
                    }),
            0);
}

TEST_F(Regions, RunOutWithTheDevicesSlots) {
  const long count = sysfs_number("regions");
  const std::size_t line = 64;  // of a cache
  Memory memory((count + 1) * line);
  const auto address =
      reinterpret_cast<std::uintptr_t>(memory.data() + count * line);
  Fd fd = open_channel();
  lanecall_region_registration last{};
  for (long i = 0; i < count; i++)
    last = lend(fd.get(), memory.data() + i * line, 1);
  EXPECT_EQ(regions_in_use(), count);
  EXPECT_EQ(errno_of(fd.get(), address, 1), ENOSPC);
  EXPECT_EQ(unregister_region(fd.get(), last.region), 0);
  EXPECT_EQ(errno_of(fd.get(), address, 1), 0);
}

// ---- Synchronising
// -------------------------------------------------------------

// Here memory is coherent: it is, where nothing stands between.
TEST_F(Regions, SyncIsAskedForWhereItDoesSomething) {
  const bool isBounced = is_booted_with("swiotlb=force");
  if (is_booted_with("intel_iommu=on"))
    GTEST_SKIP() << "Linux 6.1 says yes of all memory there";
  Memory memory(10 * kPage);
  Fd fd = open_channel();
  EXPECT_EQ(lend(fd.get(), memory).flags,
            isBounced ? LANECALL_REGION_NEEDS_SYNC : 0);
}

// Not what lies in a bounce buffer.
TEST_F(Regions, MemoryComesBackAsItIs) {
  Memory memory(10 * kPage);
  Fd fd = open_channel();
  memory.put(kPage, "before");
  lanecall_region_registration region = lend(fd.get(), memory);
  memory.put(kPage, "after.");
  EXPECT_EQ(unregister_region(fd.get(), region.region), 0);
  EXPECT_EQ(memory.get(kPage, 6), "after.");
  lend(fd.get(), memory);
  memory.put(kPage, "at end");
  fd = Fd();
  EXPECT_EQ(memory.get(kPage, 6), "at end");
}

TEST_F(Regions, SyncTakesWhatLiesInside) {
  std::vector<Memory> both = interleaved(64 * kPage);
  Fd fd = open_channel();
  const std::size_t bytes = 64 * kPage - 10;
  std::uint32_t region = lend(fd.get(), both[0].data() + 5, bytes).region;
  for (std::uint32_t direction :
       {LANECALL_SYNC_FOR_DEVICE, LANECALL_SYNC_FOR_CPU}) {
    auto sync = [&](std::uint64_t offset, std::uint64_t count) {
      return sync_region(fd.get(), region, direction, offset, count);
    };
    EXPECT_EQ(sync(0, bytes), 0);
    EXPECT_EQ(sync(0, 0), 0);
    EXPECT_EQ(sync(bytes, 0), 0);
    EXPECT_EQ(sync(bytes - 1, 1), 0);
    EXPECT_EQ(sync(4000, 5000), 0);
    EXPECT_EQ(sync(0, bytes + 1), EINVAL);
    EXPECT_EQ(sync(bytes, 1), EINVAL);
    EXPECT_EQ(sync(1, ~0ULL), EINVAL);
    EXPECT_EQ(sync(~0ULL, 1), EINVAL);
  }
  for (std::uint32_t wrong : {0U, 3U, ~0U})
    EXPECT_EQ(sync_region(fd.get(), region, wrong, 0, 1), EINVAL);
}

// ---- The device goes away
// --------------------------------------------------------

class Owner {
 public:
  Owner() : memory(10 * kPage), fd(open_channel()) {
    region = lend(fd.get(), memory).region;
    path = std::string("/sys/bus/pci/devices/") + info_of(fd.get()).device;
    address = path.substr(path.rfind('/') + 1);
  }

  Memory memory;
  Fd fd;
  std::uint32_t region;
  std::string path;     // of the PCI device
  std::string address;  // likewise
};

const std::string kDriver = "/sys/bus/pci/drivers/lanecall/";

void expect_no_region(const Owner& owner) {
  EXPECT_EQ(unregister_region(owner.fd.get(), owner.region), EIO);
  EXPECT_EQ(
      sync_region(owner.fd.get(), owner.region, LANECALL_SYNC_FOR_CPU, 0, 1),
      EIO);
  EXPECT_EQ(errno_of(owner.fd.get(),
                     reinterpret_cast<std::uintptr_t>(owner.memory.data()), 1),
            EIO);
}

void expect_lost(const Owner& owner) {
  EXPECT_EQ(pinned_pages(), 0U);
  expect_no_region(owner);
}

TEST_F(Regions, AResetGivesMemoryBack) {
  Owner owner;
  ASSERT_TRUE(write_file(owner.path + "/reset", "1"));
  expect_lost(owner);
  EXPECT_EQ(regions_in_use(), 0);
  Owner next;  // all slots are free
  EXPECT_EQ(unregister_region(next.fd.get(), next.region), 0);
}

TEST_F(Regions, UnbindingGivesMemoryBack) {
  Owner owner;
  ASSERT_TRUE(write_file(kDriver + "unbind", owner.address));
  expect_lost(owner);
  ASSERT_TRUE(write_file(kDriver + "bind", owner.address));
  Owner next;
  EXPECT_EQ(unregister_region(next.fd.get(), next.region), 0);
}

TEST_F(Regions, ResetsUnderLoadLoseNothing) {
  std::string path = Owner().path;
  for (int round = 0; round < 10; round++) {
    std::atomic<int> busy{0};
    std::vector<std::thread> users;
    for (int i = 0; i < 3; i++) {
      users.emplace_back([&] {
        Memory memory(300 * kPage);
        Fd fd = open_channel();
        lend(fd.get(), memory.data(), 100 * kPage);
        lanecall_region_registration wanted =
            lend(fd.get(), memory.data() + 100 * kPage, 100 * kPage);
        wanted.address += 100 * kPage;
        int error = 0;
        for (int turn = 0; error == 0; turn++) {
          error = register_region(fd.get(), &wanted);
          if (error == 0) error = unregister_region(fd.get(), wanted.region);
          if (turn == 3) busy++;
        }
        EXPECT_EQ(error, EIO);
      });
    }
    EXPECT_TRUE(eventually([&] { return busy == 3; }));
    EXPECT_TRUE(write_file(path + "/reset", "1"));
    for (std::thread& user : users) user.join();
  }
}

// ---- A device that does not come to rest
// ------------------------------------------
// After a reset that ends regions the device (x-rest-reads=) says for a second
// or more that it may still be in an access.

class RestlessDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!is_booted_with("lanecall_test.restless"))
      GTEST_SKIP() << "this device comes to rest at once";
  }
};

TEST_F(RestlessDevice, IsWaitedFor) {
  Owner owner;
  ASSERT_TRUE(write_file(owner.path + "/reset", "1"));
  expect_lost(owner);
  Owner next;
  EXPECT_EQ(unregister_region(next.fd.get(), next.region), 0);
}

TEST_F(RestlessDevice, KeepsItsMemoryIfItTakesTooLong) {
  Owner owner;
  write_all(owner.fd.get(), "mute\n");  // so that it has rings
  {
    Parameter patience("reset_ms", "1");
    ASSERT_TRUE(write_file(owner.path + "/reset", "1"));
  }
  EXPECT_EQ(pinned_pages(), 10U);
  expect_no_region(owner);
  EXPECT_EQ(regions_in_use(), 0);
  EXPECT_EQ(::open(kPeer, O_RDWR | O_CLOEXEC), -1);
  EXPECT_EQ(errno, ENODEV);
  owner.fd.reset();
  EXPECT_EQ(pinned_pages(), 10U);

  // Once it is at rest it is as good as any.
  ASSERT_TRUE(write_file(owner.path + "/reset", "1"));
  {
    Owner next;
    EXPECT_EQ(unregister_region(next.fd.get(), next.region), 0);
  }
  EXPECT_EQ(pinned_pages(), 10U);
  ASSERT_TRUE(write_file(kDriver + "unbind", owner.address));
  ASSERT_TRUE(write_file(kDriver + "bind", owner.address));
  Owner last;
  EXPECT_EQ(unregister_region(last.fd.get(), last.region), 0);
}

TEST_F(RestlessDevice, KeepsItsMemoryWhenItIsUnbound) {
  const std::size_t before = pinned_pages();
  Owner owner;
  {
    Parameter patience("reset_ms", "1");
    ASSERT_TRUE(write_file(kDriver + "unbind", owner.address));
  }
  EXPECT_EQ(pinned_pages(), before + 10);
  expect_no_region(owner);
  owner.fd.reset();
  EXPECT_EQ(pinned_pages(), before + 10);
  ASSERT_TRUE(write_file(kDriver + "bind", owner.address));
}

}  // namespace
}  // namespace lanecall::guest_tests
