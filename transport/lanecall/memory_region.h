// SPDX-License-Identifier: Apache-2.0
//
// Memory of this program, lent to a device under a key: a server that is told
// the key reads and writes the memory by DMA, instead of having the bytes sent.
//
//   auto transport = lanecall::openTransport("pcie:/dev/lanecall0");
//   lanecall::Region region(lanecall::lenderOf(transport), data, bytes,
//                           lanecall::RegionAccess::kReadWrite);
//   client.clean(request(region.reference()));  // into a struct of the IDL
//
// Only whoever knows the key can reach the memory, and only through this
// device. It ends with the Region, with the transport's connection, or with the
// program, whatever is first, and never before the device can touch the memory
// no longer: the transport's close() waits for that, and for other threads that
// are just lending through it or taking back.
//
// Meanwhile the memory's pages are pinned and count against the user's limit of
// locked memory (ulimit -l). Memory that is unmapped stays lent, but nobody
// sees what the device writes there. fork(): the pages stay the parent's.
#ifndef LANECALL_MEMORY_REGION_H
#define LANECALL_MEMORY_REGION_H

#include <lanecall/lender.h>
#include <lanecall/region.h>
#include <thrift/transport/TTransport.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace lanecall {

// What the device, and so a server, may do with the memory.
enum class RegionAccess : std::uint32_t {
  kRead = LANECALL_REGION_MAY_READ,
  kWrite = LANECALL_REGION_MAY_WRITE,
  kReadWrite = kRead | kWrite,
};

// What a server has to be told. Whoever has it can use it: it is for the server
// alone, and not for logs.
struct RegionReference {
  std::uint32_t device = 0;  // N of /dev/lanecallN
  std::uint64_t key = 0;
  std::uint64_t offset = 0;  // in the region
  std::uint64_t bytes = 0;
};

// What memory can be lent to through this transport; null if it is not open, or
// leads to no device: then the bytes have to travel in messages.
std::shared_ptr<Lender> lenderOf(
    const std::shared_ptr<apache::thrift::transport::TTransport>& transport);

// Moved, not copied. Functions that throw: std::system_error with errno's value
// and what to do.
class Region {
 public:
  // None: nothing below but isLent(), takeBack() and assignment.
  Region() = default;

  // Any address and any length but 0; the parts of pages outside are not lent.
  // The memory stays the caller's. Blocks while pages are brought in. Throws:
  // EOPNOTSUPP (the device takes none, or there is no lender), ENOMEM (over the
  // limit), EFAULT (not there, or not writable but kWrite), EPERM (a file on a
  // disk, and kWrite), ENOSPC (the device has no place left), EDQUOT (this user
  // has its share of it), EIO (it was reset), ENOTCONN (the connection was
  // closed), EINVAL.
  Region(std::shared_ptr<Lender> lender, void* memory, std::size_t bytes,
         RegionAccess access);
  // For the device to read.
  Region(std::shared_ptr<Lender> lender, const void* memory, std::size_t bytes)
      : Region(std::move(lender), const_cast<void*>(memory), bytes,
               RegionAccess::kRead) {}

  Region(Region&& other) noexcept { swap(other); }
  Region& operator=(Region&& other) noexcept;
  // As takeBack(), without a word about errors.
  ~Region();

  // Ends it: blocks until the device can touch the memory no longer. After EIO
  // (the device was reset) it may still write there if it did not come to rest;
  // the pages stay pinned then; do not use the memory again. Nothing
  // if it has ended with its connection, or was none.
  void takeBack();

  bool isLent() const { return lender_ != nullptr; }
  std::uint64_t key() const { return region_.key; }
  std::size_t bytes() const { return region_.bytes; }
  std::uint8_t* data() const;

  // All of it, or so many bytes from an offset; std::out_of_range outside.
  RegionReference reference() const { return reference(0, bytes()); }
  RegionReference reference(std::size_t offset, std::size_t bytes) const;

  // Where memory and device are not coherent, or every transfer is bounced:
  // before a call that makes the device read what was written here, and after
  // one that made it write (taking back does not do that). Elsewhere they do
  // nothing. Throw also std::out_of_range.
  void syncForDevice(std::size_t offset, std::size_t bytes) const;
  void syncForCpu(std::size_t offset, std::size_t bytes) const;

 private:
  void swap(Region& other) noexcept;
  void checkInside(std::size_t offset, std::size_t bytes) const;
  void sync(std::uint32_t direction, std::size_t offset,
            std::size_t bytes) const;

  std::shared_ptr<Lender> lender_;  // null: none
  lanecall_region_registration region_{};
};

}  // namespace lanecall

#endif
