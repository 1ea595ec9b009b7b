// SPDX-License-Identifier: Apache-2.0
#include <lanecall/memory_region.h>
#include <lanecall/pcie_transport.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace lanecall {
namespace {

const char* remedyFor(int error) {
  switch (error) {
    case EOPNOTSUPP:
      return "only a device with a card port (card=, guest/run --card) takes "
             "memory, and one whose module and QEMU know regions; connect to "
             "such a one, or send the bytes in messages";
    case ENOMEM:
      return "it is over the user's limit of locked memory (raise ulimit -l), "
             "or the machine's memory";
    case EFAULT:
      return "not all of it is there, or the program may not write what the "
             "device is to write";
    case EPERM:
      return "a file's pages cannot be written behind the kernel's back; lend "
             "a copy, or for reading only";
    case ENOSPC:
      return "the device has no place left; take others back, or give it more "
             "(regions=, region-extents=)";
    case EDQUOT:
      return "this user has its share of the device's regions; take others "
             "back, or raise the module's parameter regions_share";
    case EINVAL:
      return "lend at least one byte";
    case EIO:
    case ENODEV:
      return "the device was reset or removed; open it again";
    case ENOTCONN:
      return "the connection it was lent through is closed; open it again";
    default:
      return "see the kernel's log";
  }
}

// The name and the remedy; the exception adds errno's text.
[[noreturn]] void fail(int error, const std::string& name, const char* what) {
  throw std::system_error(error, std::generic_category(),
                          name + ": " + what + ": " + remedyFor(error));
}

}  // namespace

std::shared_ptr<Lender> lenderOf(
    const std::shared_ptr<apache::thrift::transport::TTransport>& transport) {
  auto pcie = std::dynamic_pointer_cast<TPcieTransport>(transport);
  return pcie ? pcie->lender() : nullptr;
}

Region::Region(std::shared_ptr<Lender> lender, void* memory, std::size_t bytes,
               RegionAccess access) {
  const char* const what = "lending memory";
  if (!lender) fail(EOPNOTSUPP, "no device's connection", what);
  region_.address = reinterpret_cast<std::uintptr_t>(memory);
  region_.bytes = bytes;
  region_.access = static_cast<std::uint32_t>(access);
  if (int error = lender->lend(&region_)) fail(-error, lender->name(), what);
  lender_ = std::move(lender);
}

Region& Region::operator=(Region&& other) noexcept {
  Region(std::move(other)).swap(*this);  // what was here ends there
  return *this;
}

Region::~Region() {
  if (lender_) lender_->takeBack(region_.region);
}

void Region::swap(Region& other) noexcept {
  std::swap(lender_, other.lender_);
  std::swap(region_, other.region_);
}

void Region::takeBack() {
  if (!lender_) return;
  auto lender = std::exchange(lender_, nullptr);
  int error = lender->takeBack(region_.region);
  if (error && error != -ENOTCONN)
    fail(-error, lender->name(), "taking memory back");
}

std::uint8_t* Region::data() const {
  // It was a pointer before the driver's interface made a number of it.
  return reinterpret_cast<std::uint8_t*>(  // NOLINT(performance-no-int-to-ptr)
      static_cast<std::uintptr_t>(region_.address));
}

void Region::checkInside(std::size_t offset, std::size_t bytes) const {
  if (!lanecall_is_valid_span(offset, bytes, region_.bytes))
    throw std::out_of_range("a region of " + std::to_string(region_.bytes) +
                            " bytes has no " + std::to_string(bytes) +
                            " bytes from " + std::to_string(offset) + " on");
}

RegionReference Region::reference(std::size_t offset, std::size_t bytes) const {
  checkInside(offset, bytes);
  return {region_.device, region_.key, offset, bytes};
}

void Region::sync(std::uint32_t direction, std::size_t offset,
                  std::size_t bytes) const {
  const char* const what = "synchronising lent memory";
  if (!lender_) fail(ENOTCONN, "no region", what);
  checkInside(offset, bytes);
  if (!(region_.flags & LANECALL_REGION_NEEDS_SYNC)) return;
  if (int error = lender_->sync({region_.region, direction, offset, bytes}))
    fail(-error, lender_->name(), what);
}

void Region::syncForDevice(std::size_t offset, std::size_t bytes) const {
  sync(LANECALL_SYNC_FOR_DEVICE, offset, bytes);
}

void Region::syncForCpu(std::size_t offset, std::size_t bytes) const {
  sync(LANECALL_SYNC_FOR_CPU, offset, bytes);
}

}  // namespace lanecall
