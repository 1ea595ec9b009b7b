// SPDX-License-Identifier: Apache-2.0
#include "qemu_device.h"

#include <fcntl.h>

#include <filesystem>
#include <system_error>
#include <utility>

namespace lanecall::test {
namespace {

constexpr unsigned kMostVectors = 257;

QemuOptions with(QemuOptions options, const DeviceOptions& device) {
  options.arguments.push_back("-device");
  options.arguments.push_back(QemuDevice::argument(device) + ",id=dut,addr=" +
                              std::to_string(PciPlace().slot) + ".0");
  return options;
}

}  // namespace

std::string QemuDevice::argument(const DeviceOptions& options) {
  std::string argument = "edu,channels=" + std::to_string(options.channels);
  if (!options.rpc.empty()) argument += ",rpc=" + options.rpc;
  if (!options.card.empty()) {
    argument += ",card=" + options.card +
                ",card-memory=" + std::to_string(options.card_memory);
  }
  if (options.vectors) {
    argument += ",vectors=" + std::to_string(options.vectors);
  }
  return argument;
}

QemuDevice::QemuDevice(std::shared_ptr<Qemu> qemu, PciPlace place,
                       Interrupts interrupts)
    : qemu_(std::move(qemu)),
      place_(place),
      interrupts_(interrupts),
      function_(*qemu_, place.bus, place.slot),
      messages_(qemu_->memory(), kMostVectors * 4) {
  configure();
}

QemuDevice::QemuDevice(const DeviceOptions& options, QemuOptions qemu)
    : QemuDevice(std::make_shared<Qemu>(with(std::move(qemu), options))) {}

void QemuDevice::configure() {
  function_.placeBar(0, place_.bars);
  function_.placeBar(LANECALL_BAR_MSIX, place_.bars + 0x200000);
  function_.placeBar(LANECALL_BAR_REGS, place_.bar2);
  if (function_.barSize(LANECALL_BAR_CARD)) {
    function_.placeBar(LANECALL_BAR_CARD, place_.bar4);
  }
  function_.enable();
  if (interrupts_ == Interrupts::kMsix) function_.enableMsix(messages_);
  if (interrupts_ == Interrupts::kMsi) {
    function_.enableMsi(messages_.address());
  }
}

std::vector<uint64_t> QemuDevice::notMemory() {
  return {function_.barAddress(0), function_.barAddress(LANECALL_BAR_REGS),
          memory().size(),         0xfee00000,  // the local APIC
          uint64_t{1} << 40,       ~uint64_t{0} << LANECALL_PAGE_SHIFT_MAX};
}

// As QEMU has it open, for which it needs no server.
std::span<unsigned char> QemuDevice::cardMemory() {
  std::lock_guard<std::mutex> lock(card_mutex_);
  if (!card_.bytes().empty()) return card_.bytes();
  for (const auto& entry : std::filesystem::directory_iterator(
           "/proc/" + std::to_string(host()) + "/fd")) {
    std::error_code gone;
    const auto file = std::filesystem::read_symlink(entry.path(), gone);
    if (!gone && file.string().starts_with("/memfd:lanecall-card")) {
      card_ =
          SharedMemory(Descriptor(open(entry.path().c_str(), O_RDWR)).get());
      break;
    }
  }
  return card_.bytes();
}

bool QemuDevice::interrupted(unsigned vector) {
  return vector < kMostVectors &&
         function_.taken(messages_.address() + 4 * vector);
}

bool QemuDevice::waitInterrupt(unsigned vector, const Deadline& deadline) {
  while (!interrupted(vector)) {
    if (deadline.passed()) return false;
    qemu_->turn();
  }
  return true;
}

void QemuDevice::wake(unsigned vector) {
  auto* word = reinterpret_cast<uint32_t*>(messages_.data() + 4 * vector);
  __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
}

void QemuDevice::busReset() {
  qemu_->qmp(R"({"execute": "system_reset"})");
  if (!qemu_->waitEvent("RESET", Deadline::in(60000))) {
    throw std::runtime_error("QEMU does not reset");
  }
  configure();
}

}  // namespace lanecall::test
