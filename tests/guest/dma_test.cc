// SPDX-License-Identifier: Apache-2.0
// What a card reads and writes in lent memory: the right bytes and no others,
// and only where it may.
#include <fcntl.h>
#include <lanecall/region.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "card_orders.h"

namespace lanecall::guest_tests {
namespace {

class Dma : public WithFirmware {};

void expect_only(const Memory& memory, std::size_t start, std::size_t count,
                 const std::string& wanted) {
  EXPECT_TRUE(memory.get(start, count) == wanted);
  EXPECT_EQ(memory.get(0, start), std::string(start, '\1'));
  const std::size_t rest = memory.bytes() - start - count;
  EXPECT_EQ(memory.get(start + count, rest), std::string(rest, '\1'));
}

// ---- The right bytes
// -----------------------------------------------------------

TEST_F(Dma, WritesLandInTheRegionAndNowhereElse) {
  const std::size_t size = 5 * kPage;
  for (std::size_t start : {0UL, 1UL, 4095UL, 4096UL, 6000UL}) {
    for (std::size_t bytes : {1UL, 4096UL, 10000UL}) {
      std::vector<Memory> both = interleaved(size);
      for (Memory& each : both) std::fill_n(each.data(), size, 1);
      Lent lent(both[0].data() + start, bytes);
      lent.writtenHere();
      Moved moved = card_writes(lent.region.key, 0, bytes);
      EXPECT_EQ(moved.error, 0);
      EXPECT_EQ(moved.count, bytes);
      lent.readHere();
      expect_only(both[0], start, bytes, pattern(0, bytes));
      expect_only(both[1], 0, 0, "");
    }
  }
}

TEST_F(Dma, WritesLandAtTheirOffset) {
  std::vector<Memory> both = interleaved(8 * kPage);
  std::fill_n(both[0].data(), both[0].bytes(), 1);
  Lent lent(both[0].data() + 100, 7 * kPage);
  lent.writtenHere();
  EXPECT_EQ(card_writes(lent.region.key, 4000, 9000).error, 0);
  lent.readHere();
  expect_only(both[0], 4100, 9000, pattern(0, 9000));
}

TEST_F(Dma, ReadsSeeWhatTheProgramWroteLast) {
  std::vector<Memory> both = interleaved(8 * kPage);
  Lent lent(both[0].data() + 3, 7 * kPage, kReadable);
  for (int round = 0; round < 3; round++) {
    const std::string text = random_bytes(7 * kPage, 100 + round);
    both[0].put(3, text);
    lent.writtenHere();
    EXPECT_TRUE(card_reads(lent.region.key, 0, text.size()).bytes == text);
    EXPECT_TRUE(card_reads(lent.region.key, 5000, 1234).bytes ==
                text.substr(5000, 1234));
  }
}

// Pages that are nobody's own yet when they are lent.
TEST_F(Dma, ReadsSeeMemoryThatWasNeverTouchedBefore) {
  Memory memory(6 * kPage);
  Memory zeroes(6 * kPage);
  for (std::size_t at = 0; at < zeroes.bytes(); at += kPage)
    EXPECT_EQ(zeroes.data()[at], 0);  // touched, for reading
  for (const Memory* each : {&memory, &zeroes}) {
    Lent lent(each->data(), each->bytes(), kReadable);
    const std::string text = random_bytes(each->bytes(), 5);
    each->put(0, text);
    lent.writtenHere();
    EXPECT_TRUE(card_reads(lent.region.key, 0, text.size()).bytes == text);
  }
}

TEST_F(Dma, MegabytesOfScatteredPages) {
  const std::size_t size = 8 << 20;
  std::vector<Memory> both = interleaved(size);
  Lent lent(both[0].data(), size);
  EXPECT_EQ(card_writes(lent.region.key, 0, size).count, size);
  lent.readHere();
  EXPECT_TRUE(both[0].get(0, size) == pattern(0, size));
  const std::string text = random_bytes(size, 9);
  both[0].put(0, text);
  lent.writtenHere();
  EXPECT_TRUE(card_reads(lent.region.key, 0, size).bytes == text);
}

TEST_F(Dma, SharedMemoryIsWrittenForAll) {
  Fd file(::memfd_create("region", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 4 * kPage), 0);
  std::string text(4 * kPage, '\0');
  {
    Memory memory(4 * kPage, file.get(), MAP_SHARED);
    Lent lent(memory.data(), memory.bytes());
    EXPECT_EQ(card_writes(lent.region.key, 0, 4 * kPage).error, 0);
    lent.readHere();
  }
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0),
            static_cast<ssize_t>(text.size()));
  EXPECT_TRUE(text == pattern(0, text.size()));
}

TEST_F(Dma, TheParentsMemoryStaysLentAfterFork) {
  Memory memory(4 * kPage);
  memory.put(0, std::string(memory.bytes(), 'a'));
  Lent lent(memory.data(), memory.bytes());
  pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  const std::string text = random_bytes(memory.bytes(), 6);
  memory.put(0, text);
  lent.writtenHere();
  EXPECT_TRUE(card_reads(lent.region.key, 0, text.size()).bytes == text);
  EXPECT_EQ(card_writes(lent.region.key, 0, text.size()).error, 0);
  lent.readHere();
  EXPECT_TRUE(memory.get(0, text.size()) == pattern(0, text.size()));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

// ---- Files
// -------------------------------------------------------------------------

// A disk in memory: a file whose pages the kernel writes back.
class DmaToFiles : public Dma {
 protected:
  static constexpr std::size_t kBytes = 2 * kPage;

  void SetUp() override {
    Dma::SetUp();
    if (IsSkipped()) return;
    if (::access(kDisk, F_OK) != 0 &&
        std::system("insmod /root/brd.ko* rd_nr=1 rd_size=1024") != 0)
      GTEST_SKIP() << "this kernel has no disk in memory";
    disk_ = Fd(::open(kDisk, O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(disk_);
  }

  std::string onDisk() const {
    std::string bytes(kBytes, '\0');
    EXPECT_EQ(::pread(disk_.get(), bytes.data(), kBytes, 0),
              static_cast<ssize_t>(kBytes));
    return bytes;
  }

  static constexpr const char* kDisk = "/dev/ram0";
  Fd disk_;
};

TEST_F(DmaToFiles, AreForReadingOnly) {
  Memory shared(kBytes, disk_.get(), MAP_SHARED);
  Memory copy(kBytes, disk_.get(), MAP_PRIVATE);
  const auto address = reinterpret_cast<std::uintptr_t>(shared.data());
  Fd fd = open_channel();
  EXPECT_EQ(errno_of(fd.get(), address, kBytes, kWritable), EPERM);
  EXPECT_EQ(errno_of(fd.get(), address, kBytes, kBoth), EPERM);
  lanecall_region_registration region = lend(fd.get(), shared, kReadable);
  EXPECT_TRUE(card_reads(region.key, 0, kBytes).bytes == onDisk());
  lend(fd.get(), copy, kBoth);
}

// Now it is a file's page that is mapped there, now the program's own.
TEST_F(DmaToFiles, AreNotWrittenIfTheyAreMappedMeanwhile) {
  const std::string before = onDisk();
  Memory place(kBytes);
  std::atomic<bool> done{false};
  std::thread swapper([&] {
    while (!done) {
      for (int fd : {disk_.get(), -1}) {
        ::mmap(place.data(), kBytes, PROT_READ | PROT_WRITE,
               MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED),
               fd, 0);
      }
    }
  });
  Fd fd = open_channel();
  const auto address = reinterpret_cast<std::uintptr_t>(place.data());
  for (int lent = 0; lent < 150;) {
    lanecall_region_registration wanted{};
    wanted.address = address;
    wanted.bytes = kBytes;
    wanted.access = kWritable;
    const int error = register_region(fd.get(), &wanted);
    EXPECT_TRUE(error == 0 || error == EPERM || error == EFAULT) << error;
    if (error != 0) continue;
    lent++;
    EXPECT_EQ(card_fills(wanted.key, 0, kBytes, 170).error, 0);
    EXPECT_EQ(unregister_region(fd.get(), wanted.region), 0);
  }
  done = true;
  swapper.join();
  EXPECT_TRUE(onDisk() == before) << "a file was written behind its back";
}

// ---- What is refused
// ------------------------------------------------------------

TEST_F(Dma, OnlyWhatWasAllowedAndOnlyInside) {
  Memory memory(2 * kPage);
  memory.put(0, std::string(memory.bytes(), '\1'));
  Lent readable(memory.data(), kPage, kReadable);
  Lent writable(memory.data() + kPage, kPage, kWritable);
  EXPECT_EQ(card_writes(readable.region.key, 0, 1).error, LANECALL_ERR_ACCESS);
  EXPECT_EQ(card_reads(writable.region.key, 0, 1).error, LANECALL_ERR_ACCESS);
  EXPECT_EQ(card_reads(readable.region.key + 1, 0, 1).error,
            LANECALL_ERR_ACCESS);
  for (auto [offset, count] : {std::pair{0UL, kPage + 1},
                               {kPage, 1UL},
                               {~0UL, 1UL},
                               {~0UL - kPage, kPage}}) {
    Moved moved = card_writes(writable.region.key, offset, count);
    EXPECT_EQ(moved.error, LANECALL_ERR_RANGE) << offset << "+" << count;
    EXPECT_EQ(moved.count, 0U);
  }
  expect_only(memory, 0, 0, "");
}

TEST_F(Dma, AKeyIsNoneAfterItsRegionWasTakenBack) {
  Memory memory(kPage);
  Lent lent(memory.data(), kPage);
  EXPECT_EQ(unregister_region(lent.fd.get(), lent.region.region), 0);
  memory.put(0, std::string(kPage, '\1'));
  EXPECT_EQ(card_writes(lent.region.key, 0, kPage).error, LANECALL_ERR_ACCESS);
  // Nor for what has its slot next.
  Lent next(memory.data(), kPage);
  EXPECT_EQ(next.region.region, lent.region.region);
  EXPECT_EQ(card_writes(lent.region.key, 0, kPage).error, LANECALL_ERR_ACCESS);
  expect_only(memory, 0, 0, "");
}

}  // namespace
}  // namespace lanecall::guest_tests
