// SPDX-License-Identifier: Apache-2.0
#include "lying_device.h"

#include <fcntl.h>
#include <lanecall/device.h>
#include <lanecall/region.h>

#include <cerrno>
#include <cstring>
#include <map>

namespace lanecall::debug_tests {
namespace {

using namespace guest_tests;

constexpr std::size_t kRegisters = 4096;  // of the device, in BAR 2

using Names = std::map<unsigned, const char*>;

const Names& places() {
#define REGISTER(name) \
  { LANECALL_HOSTILE_REGISTER(LANECALL_REG_##name), #name }
#define PLACE(name) \
  { LANECALL_HOSTILE_##name, #name }
  static const Names names{REGISTER(MAGIC),
                           REGISTER(VERSION),
                           REGISTER(FEATURES_LO),
                           REGISTER(STATUS),
                           REGISTER(CHANNELS),
                           REGISTER(VECTORS),
                           REGISTER(CHANNEL_OFFSET),
                           REGISTER(CHANNEL_STRIDE),
                           REGISTER(DOORBELL_OFFSET),
                           REGISTER(DOORBELL_STRIDE),
                           REGISTER(RING_SHIFTS),
                           REGISTER(PAGE_SHIFTS),
                           REGISTER(GENERATION),
                           REGISTER(REGIONS),
                           REGISTER(REGION_EXTENTS),
                           PLACE(CH_STATUS),
                           PLACE(STATUS),
                           PLACE(TX_TAIL),
                           PLACE(TX_WANT_HEAD),
                           PLACE(RX_HEAD),
                           PLACE(RX_WANT_TAIL),
                           PLACE(TX_HEAD),
                           PLACE(TX_WANT_TAIL),
                           PLACE(RX_TAIL),
                           PLACE(RX_WANT_HEAD),
                           PLACE(GONE),
                           PLACE(COUNTER),
                           PLACE(CARD_INDEX),
                           PLACE(CARD_TX),
                           PLACE(CARD_RX),
                           PLACE(REGION),
                           PLACE(COMMAND),
                           PLACE(REGION_COMMAND),
                           PLACE(DOORBELL),
                           PLACE(INTERRUPT),
                           PLACE(REPEATS)};
#undef REGISTER
#undef PLACE
  return names;
}

const Names& kinds() {
  static const Names names{{LANECALL_LIE_ZERO, "zero"},
                           {LANECALL_LIE_ONE, "one"},
                           {LANECALL_LIE_ALL_ONES, "all ones"},
                           {LANECALL_LIE_ONE_MORE, "one more"},
                           {LANECALL_LIE_ONE_LESS, "one less"},
                           {LANECALL_LIE_HIGHEST_BIT, "the highest bit"},
                           {LANECALL_LIE_OTHER_BIT, "a bit is wrong"},
                           {LANECALL_LIE_RANDOM, "random"},
                           {LANECALL_LIE_OLD, "old"},
                           {LANECALL_LIE_LATE, "late"}};
  return names;
}

std::uint64_t places_that(bool are_registers) {
  std::uint64_t all = 0;
  for (const auto& [place, name] : places())
    if (Lie{place, 0}.isOfDevice() == are_registers) all |= bit(place);
  return all;
}

Fd open_bar(const std::string& pci) {
  const std::string path = "/sys/bus/pci/devices/" + pci + "/resource" +
                           std::to_string(LANECALL_BAR_REGS);
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_TRUE(fd) << path << ": " << std::strerror(errno);
  return fd;
}

}  // namespace

std::string Lie::name() const {
  return std::string(places().at(place)) + ": " + kinds().at(kind);
}

std::vector<Lie> all_lies() {
  std::vector<Lie> all;
  for (const auto& [place, place_name] : places())
    for (const auto& [kind, kind_name] : kinds()) all.push_back({place, kind});
  return all;
}

std::uint64_t device_registers() { return places_that(true); }
std::uint64_t channels_and_regions() { return places_that(false); }

LyingDevice::LyingDevice(const std::string& pci)
    : bar_(open_bar(pci).get(), 0, kRegisters) {
  if (!bar_) return;
  reg(LANECALL_REG_HOSTILE_KIND) = LANECALL_LIES;
  EXPECT_EQ(reg(LANECALL_REG_HOSTILE_KIND), std::uint32_t{LANECALL_LIES})
      << "the device has no x-hostile";
}

void LyingDevice::seed(std::uint32_t value) {
  reg(LANECALL_REG_HOSTILE_SEED) = value;
}

void LyingDevice::lie(std::uint64_t places, std::uint32_t kind,
                      std::uint32_t one_in) {
  reg(LANECALL_REG_HOSTILE_PLACES_LO) = static_cast<std::uint32_t>(places);
  reg(LANECALL_REG_HOSTILE_PLACES_HI) =
      static_cast<std::uint32_t>(places >> 32);
  reg(LANECALL_REG_HOSTILE_KIND) = kind;
  reg(LANECALL_REG_HOSTILE_ONE_IN) = one_in;
}

void LyingDevice::stop() {
  if (bar_) reg(LANECALL_REG_HOSTILE_ONE_IN) = 0;
}

std::uint32_t LyingDevice::told() const {
  return reg(LANECALL_REG_HOSTILE_TOLD);
}

}  // namespace lanecall::debug_tests
