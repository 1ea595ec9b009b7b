// SPDX-License-Identifier: Apache-2.0
#include "rogue_device.h"

#include <fcntl.h>
#include <lanecall/device.h>
#include <lanecall/rogue.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace lanecall::guest_tests {
namespace {

constexpr std::size_t kRegisters = 4096;  // of the device, in BAR 2

std::string folder_of(const std::string& pci) {
  return "/sys/bus/pci/devices/" + pci + "/";
}

Fd open_bar(const std::string& pci) {
  const std::string path =
      folder_of(pci) + "resource" + std::to_string(LANECALL_BAR_REGS);
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_TRUE(fd) << path << ": " << std::strerror(errno);
  return fd;
}

}  // namespace

RogueDevice::RogueDevice(const std::string& pci)
    : bar_(open_bar(pci).get(), 0, kRegisters) {}

void RogueDevice::choose(std::uint64_t address) {
  reg(LANECALL_REG_ROGUE_LO) = static_cast<std::uint32_t>(address);
  reg(LANECALL_REG_ROGUE_HI) = static_cast<std::uint32_t>(address >> 32);
}

void RogueDevice::seed(std::uint32_t value) {
  reg(LANECALL_REG_ROGUE_SEED) = value;
}

Attempts RogueDevice::command(std::uint32_t kind, std::uint32_t count) {
  const Attempts before = attempts();
  reg(LANECALL_REG_ROGUE_COMMAND) = LANECALL_ROGUE(kind, count);
  return attempts() - before;
}

// Both at one time: it may try by itself in between.
Attempts RogueDevice::attempts() const {
  Attempts all;
  do {
    all.tried = reg(LANECALL_REG_ROGUE_TRIED);
    all.blocked = reg(LANECALL_REG_ROGUE_BLOCKED);
  } while (reg(LANECALL_REG_ROGUE_TRIED) != all.tried);
  return all;
}

std::uint32_t RogueDevice::remembered() const {
  return reg(LANECALL_REG_ROGUE_REMEMBERED);
}

bool is_behind_iommu(const std::string& pci) {
  return std::filesystem::exists(folder_of(pci) + "iommu_group");
}

FaultReports::FaultReports(const std::string& pci)
    : log_(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)), pci_(pci) {
  EXPECT_TRUE(log_) << "/dev/kmsg: " << std::strerror(errno);
  ::lseek(log_.get(), 0, SEEK_END);
}

// "DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr ...": without
// the domain.
bool FaultReports::isReport(const std::string& record) const {
  const std::string device = pci_.substr(pci_.find(':') + 1);
  return record.find("DMAR:") != record.npos &&
         record.find("Request device [" + device + "]") != record.npos;
}

bool FaultReports::next(std::chrono::milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  char record[8192];
  for (;;) {
    const ssize_t n = ::read(log_.get(), record, sizeof record);
    if (n > 0) {
      if (isReport({record, static_cast<std::size_t>(n)})) return true;
      continue;
    }
    if (n < 0 && errno == EPIPE) continue;  // some were overwritten
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    poll_for(log_.get(), POLLIN, left);
  }
}

}  // namespace lanecall::guest_tests
