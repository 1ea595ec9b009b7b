// SPDX-License-Identifier: Apache-2.0
#include "machine.h"

#include <fcntl.h>
#include <lanecall/deadline.h>
#include <lanecall/descriptor.h>
#include <lanecall/open.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "caller.h"
#include "settings.h"

namespace lanecall::ledger {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNode = "/dev/lanecall0";
constexpr const char* kDevice = "/sys/class/lanecall/lanecall0/device";

// PCI's configuration space, and the PCIe capability in it.
constexpr int kCommand = 0x04;
constexpr std::uint16_t kSystemErrors = 0x0100;
constexpr int kFirstCapability = 0x34;
constexpr int kPcieCapability = 0x10;
constexpr int kSlotControl = 0x18;
constexpr std::uint16_t kPowerAndIndicatorOff = 0x0700;

void write(const fs::path& file, const std::string& text) {
  std::ofstream out(file);
  out << text << std::flush;
  if (!out)
    throw std::runtime_error(file.string() + ": cannot write '" + text +
                             "': " + std::strerror(errno));
}

// The configuration space of a function.
class Config {
 public:
  explicit Config(const fs::path& function)
      : file_(::open((function / "config").c_str(), O_RDWR | O_CLOEXEC)) {
    if (!file_.valid())
      throw std::system_error(errno, std::generic_category(), function);
  }

  template <typename T>
  T read(int at) const {
    T value{};
    if (::pread(file_.get(), &value, sizeof value, at) != ssize_t{sizeof value})
      throw std::runtime_error("cannot read a function's configuration");
    return value;
  }
  void setBits(int at, std::uint16_t bits) const {
    const auto word =
        static_cast<std::uint16_t>(read<std::uint16_t>(at) | bits);
    if (::pwrite(file_.get(), &word, sizeof word, at) != ssize_t{sizeof word})
      throw std::runtime_error("cannot write a function's configuration");
  }

 private:
  const Descriptor file_;
};

}  // namespace

std::string monitor(const std::string& command) {
  const TransportPtr transport = openTransport(settings().monitor, patient());
  const std::string line = command + "\n";
  transport->write(reinterpret_cast<const std::uint8_t*>(line.data()),
                   static_cast<std::uint32_t>(line.size()));
  transport->flush();
  std::string answer;
  std::uint8_t part[512];
  while (const std::uint32_t got = transport->read(part, sizeof part))
    answer.append(reinterpret_cast<const char*>(part), got);
  return answer;
}

PciDevice::PciDevice()
    : device_(fs::canonical(kDevice)), port_(device_.parent_path()) {}

void PciDevice::unbind() const {
  write(device_ / "driver/unbind", device_.filename());
}

void PciDevice::bind() const {
  write("/sys/bus/pci/drivers/lanecall/bind", device_.filename());
}

void PciDevice::reset() const { write(device_ / "reset", "1"); }

void PciDevice::remove() const { write(device_ / "remove", "1"); }

void PciDevice::reportErrors() const {
  Config(device_).setBits(kCommand, kSystemErrors);
}

void PciDevice::pullOut() const {
  const Config config(port_);
  int at = config.read<std::uint8_t>(kFirstCapability);
  while (at && config.read<std::uint8_t>(at) != kPcieCapability)
    at = config.read<std::uint8_t>(at + 1);
  if (!at) throw std::runtime_error(port_.string() + " is no PCIe port");
  config.setBits(at + kSlotControl, kPowerAndIndicatorOff);
}

// QEMU lets go of a device after the guest has.
void plugIn() {
  const Deadline deadline = Deadline::in(kPatienceMs);
  for (;;) {
    const std::string answer = monitor("device_add " + settings().device);
    if (answer.empty()) return awaitNode(true);
    if (deadline.passed()) throw std::runtime_error("device_add: " + answer);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// The kernel's event that tells of it comes before the node has gone.
void awaitNode(bool there) {
  const Deadline deadline = Deadline::in(kPatienceMs);
  while (fs::exists(kNode) != there) {
    if (deadline.passed())
      throw std::runtime_error(std::string(kNode) +
                               (there ? " does not come" : " does not go"));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace lanecall::ledger
