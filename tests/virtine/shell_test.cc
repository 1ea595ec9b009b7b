// SPDX-License-Identifier: Apache-2.0
//
// What shells promise, the same of each kind.
#include <gtest/gtest.h>
#include <lanecall/kvm_shell.h>
#include <lanecall/plain_shell.h>
#include <lanecall/shell_memory.h>
#include <lanecall/virtine_function_abi.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "random.h"
#include "settings.h"

namespace lanecall {
namespace {

using Image = std::shared_ptr<const VirtineImage>;

constexpr std::size_t kSmall = kShellBytesLeast;
constexpr std::size_t kMiB = 1 << 20;

void cleanByCopy(Shell& shell) {
  auto end = std::copy(shell.image().begin(), shell.image().end(),
                       shell.memory().begin());
  std::fill(end, shell.memory().end(), 0);
  shell.reset();
}

std::vector<std::uint8_t> cleanBytes(Shell& shell) {
  std::vector<std::uint8_t> bytes(shell.image().begin(), shell.image().end());
  bytes.resize(shell.memory().size());
  return bytes;
}

// The pages that are not as they were.
std::vector<bool> changedPages(Shell& shell) {
  const auto clean = cleanBytes(shell);
  std::vector<bool> pages(clean.size() / kPageBytes);
  for (std::size_t i = 0; i < clean.size(); ++i)
    if (shell.memory()[i] != clean[i]) pages[i / kPageBytes] = true;
  return pages;
}

std::vector<bool> dirtyPages(Shell& shell) {
  std::vector<bool> pages(shell.memory().size() / kPageBytes);
  for (const auto& extent : shell.dirty())
    for (auto at = extent.offset; at < extent.offset + extent.length;
         at += kPageBytes)
      pages.at(at / kPageBytes) = true;
  return pages;
}

// A machine takes pages that it sees for the first time as dirty ones.
std::unique_ptr<Shell> usedBefore(std::unique_ptr<Shell> shell) {
  shell->run(shell->memory().size() / kPageBytes);
  shell->dirty();
  cleanByCopy(*shell);
  return shell;
}

bool is_clean(Shell& shell) {
  return std::ranges::equal(shell.memory(), cleanBytes(shell));
}

enum class Kind { kPlain, kKvm };

class AnyShell : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::kKvm && !test::settings().kvm)
      GTEST_SKIP() << "only with --kvm, as in a guest";
  }

  static std::unique_ptr<Shell> makeShell(const Image& image,
                                          std::size_t bytes) {
    if (GetParam() == Kind::kKvm)
      return std::make_unique<KvmShell>(image, bytes);
    return std::make_unique<PlainShell>(image, bytes);
  }
  static std::unique_ptr<Shell> makeShell(const VirtineFunction& function,
                                          std::size_t bytes,
                                          std::size_t imageBytes) {
    return makeShell(makeVirtineImage(function, imageBytes), bytes);
  }
};
INSTANTIATE_TEST_SUITE_P(Kinds, AnyShell,
                         testing::Values(Kind::kPlain, Kind::kKvm),
                         [](const auto& info) {
                           return info.param == Kind::kKvm ? "Kvm" : "Plain";
                         });

TEST_P(AnyShell, BeginsWithItsImageAndZeroesAbove) {
  for (std::size_t bytes : {kSmall, 16 * kMiB}) {
    auto shell = makeShell(fibonacci(), bytes, bytes / 2 + 1);
    ASSERT_EQ(shell->memory().size(), bytes);
    // Huge pages, where that is worth it.
    const auto at = reinterpret_cast<std::uintptr_t>(shell->memory().data());
    ASSERT_EQ(at % (bytes < 1 << 20 ? 4096 : 2 << 20), 0U);
    ASSERT_EQ(shell->image().size(), bytes / 2 + 1);
    EXPECT_TRUE(is_clean(*shell));
    EXPECT_TRUE(shell->dirty().empty());
  }
}

TEST_P(AnyShell, ComputesFibonacciNumbers) {
  auto shell = makeShell(fibonacci(), kSmall, 4096);
  const std::array<std::uint32_t, 8> first{0, 1, 1, 2, 3, 5, 8, 13};
  for (std::uint32_t n = 0; n < first.size(); ++n) {
    EXPECT_EQ(shell->run(n), first[n]);
    cleanByCopy(*shell);
  }
  EXPECT_EQ(shell->run(20), 6765u);
}

TEST_P(AnyShell, FindsASecretOnlyWhereNobodyCleans) {
  for (std::size_t bytes : {kSmall, kMiB}) {
    auto shell = makeShell(secretHunter(), bytes, bytes / 2);
    // One in each step, and one at the end.
    const std::uint32_t left = bytes / LANECALL_SECRET_STEP + 1;
    EXPECT_EQ(shell->run(0), 0u);
    EXPECT_EQ(shell->run(0), left);
    for (std::uint32_t run = 0; run < 100; ++run) {
      cleanByCopy(*shell);
      ASSERT_EQ(shell->run(run * 8), 0u) << "run " << run;
    }
  }
}

TEST_P(AnyShell, WritesSoManyPages) {
  const std::size_t pages = kMiB / kPageBytes;
  for (std::size_t wanted : {0, 1, 2, 100, 255, 256, 1000}) {
    auto shell = usedBefore(makeShell(pageWriter(), kMiB, kMiB / 2));
    const auto written = static_cast<std::ptrdiff_t>(std::min(wanted, pages));
    EXPECT_EQ(shell->run(wanted), written);
    auto dirty = dirtyPages(*shell);
    EXPECT_EQ(std::ranges::count(dirty, true), written);
    EXPECT_EQ(dirty, changedPages(*shell));
  }
}

TEST_P(AnyShell, DirtyStaysSoUntilReset) {
  auto shell = usedBefore(makeShell(pageWriter(), kMiB, kMiB));
  shell->run(3);
  const auto first = shell->dirty();
  EXPECT_EQ(first.size(), 3u);
  EXPECT_EQ(shell->dirty(), first) << "asked again";
  shell->run(3);
  EXPECT_EQ(shell->dirty(), first) << "the same pages again";
  cleanByCopy(*shell);
  EXPECT_TRUE(shell->dirty().empty());
  shell->run(2);
  EXPECT_EQ(shell->dirty().size(), 2u);
}

// Whoever writes to memory() knows where.
TEST_P(AnyShell, WritesByOthersAreNotInDirty) {
  auto shell = makeShell(pageWriter(), kSmall, kSmall);
  std::ranges::fill(shell->memory(), 1);
  EXPECT_TRUE(shell->dirty().empty());
}

TEST_P(AnyShell, RandomRunsLeaveNothingOutsideDirty) {
  Random random(test::settings().seed);
  const VirtineFunction* functions[] = {&fibonacci(), &secretHunter(),
                                        &pageWriter()};
  for (int round = 0; round < 30; ++round) {
    const std::size_t bytes = kSmall + random.below(64) * kPageBytes;
    auto shell = makeShell(*functions[random.below(3)], bytes,
                           4096 + random.below(bytes - 4096 + 1));
    for (int run = 0; run < 3; ++run) {
      shell->run(random.below(16));
      const auto dirty = dirtyPages(*shell);
      const auto changed = changedPages(*shell);
      for (std::size_t page = 0; page < changed.size(); ++page)
        ASSERT_LE(changed[page], dirty[page])
            << "page " << page << " in round " << round;
      // Clean where it is dirty, and it is clean.
      const auto clean = cleanBytes(*shell);
      for (const auto& extent : shell->dirty())
        std::copy_n(clean.begin() + extent.offset, extent.length,
                    shell->memory().begin() + extent.offset);
      ASSERT_TRUE(is_clean(*shell));
      shell->reset();
    }
  }
}

TEST_P(AnyShell, RefusesMemoryOfOtherSizes) {
  auto image = makeVirtineImage(fibonacci(), kSmall + 1);
  for (std::size_t bytes : {std::size_t{0}, kSmall - kPageBytes, kSmall,
                            kMiB + 1, 16 * kMiB + kPageBytes})
    EXPECT_THROW(makeShell(image, bytes), std::invalid_argument) << bytes;
}

TEST(VirtineImage, BeginsWithTheCode) {
  auto image = makeVirtineImage(fibonacci(), 10'000);
  EXPECT_EQ(image->bytes.size(), 10'000u);
  EXPECT_TRUE(std::equal(fibonacci().code.begin(), fibonacci().code.end(),
                         image->bytes.begin()));
  EXPECT_EQ(image->bytes, makeVirtineImage(fibonacci(), 10'000)->bytes);
}

TEST(VirtineImage, HasRoomForTheCode) {
  EXPECT_THROW(makeVirtineImage(fibonacci(), fibonacci().code.size() - 1),
               std::invalid_argument);
}

// ---- only machines ----------------------------------------------------------

class KvmOnly : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::settings().kvm) GTEST_SKIP() << "only with --kvm, as in a guest";
  }
};

// The model stands for the machine code wherever there is no KVM.
TEST_F(KvmOnly, DoesWhatTheModelDoes) {
  for (const auto* function : {&secretHunter(), &pageWriter()}) {
    auto image = makeVirtineImage(*function, kMiB / 2);
    KvmShell machine(image, kMiB);
    PlainShell model(image, kMiB);
    machine.run(kMiB / kPageBytes);  // sees every page
    model.run(kMiB / kPageBytes);
    machine.dirty();
    machine.reset();
    model.reset();
    for (std::uint32_t argument : {5u, 77u, 4095u, ~0u}) {
      EXPECT_EQ(machine.run(argument), model.run(argument));
      ASSERT_TRUE(std::ranges::equal(machine.memory(), model.memory()))
          << function->name << " of " << argument;
      EXPECT_EQ(machine.dirty(), model.dirty());
    }
  }
}

TEST_F(KvmOnly, WithoutALogAllIsDirty) {
  KvmShell shell(makeVirtineImage(pageWriter(), kSmall), kSmall,
                 DirtyLog::kOff);
  shell.run(1);
  const auto dirty = shell.dirty();
  ASSERT_EQ(dirty.size(), 1u);
  EXPECT_EQ(dirty[0].offset, 0);
  EXPECT_EQ(dirty[0].length, static_cast<std::int64_t>(kSmall));
}

// A function that does what it must not ends, and the shell serves on.
TEST_F(KvmOnly, EndsFunctionsThatMisbehave) {
  const std::vector<std::vector<std::uint8_t>> codes = {
      {0x0f, 0x0b},                                // ud2
      {0xb9, 0x02, 0x01, 0x00, 0xc0, 0x0f, 0x30},  // wrmsr, KERNEL_GS_BASE
      {0xb9, 0x82, 0x00, 0x00, 0xc0, 0x0f, 0x32},  // rdmsr, LSTAR
      {0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x30},  // wrmsr, EFER
      {0x8b, 0x05, 0x00, 0x00, 0x00, 0x20},        // reads 512 MiB up
      {0x90, 0xe6, 0x70},                          // out
      {0x90, 0xe4, 0x70},                          // in
      {0x90, 0x6c},                                // insb
  };
  for (const auto& code : codes) {
    const VirtineFunction bad{"bad", code, nullptr};
    KvmShell shell(makeVirtineImage(bad, code.size()), kSmall);
    for (int i = 0; i < 3; ++i)
      EXPECT_THROW(shell.run(1), std::runtime_error) << "code " << int{code[0]};
    std::ranges::copy(fibonacci().code, shell.memory().begin());
    EXPECT_EQ(shell.run(10), 55u);
  }
}

}  // namespace
}  // namespace lanecall
