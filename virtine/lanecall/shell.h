// SPDX-License-Identifier: Apache-2.0
//
// A shell: a virtual machine as small as a function (a virtine's), with memory
// of its own, that runs one function again and again.
//
//   run() -> the memory is dirty -> somebody puts the memory back to image()
//   and zeroes above -> reset() -> run() ...
//
// The shell does not clean its memory; that is what it is lent for, to a
// co-processor (VirtinePool) or to a memcpy. It puts back what memory cannot
// reach: its processor's registers, in reset().
//
// A shell is one thread's at a time; any thread's, one after the other.
#ifndef LANECALL_SHELL_H
#define LANECALL_SHELL_H

#include <virtine/virtine_types.h>

#include <cstdint>
#include <span>
#include <vector>

namespace lanecall {

class Shell {
 public:
  Shell() = default;
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;
  virtual ~Shell() = default;

  // Whole pages at a page's border; the same for the shell's life, and not to
  // be written while run() is under way. After construction: image(), and
  // zeroes above it.
  virtual std::span<std::uint8_t> memory() = 0;

  // What memory() begins with when it is clean; never more than fits. Lives as
  // long as the shell; shells of one image return the same bytes.
  virtual std::span<const std::uint8_t> image() const = 0;

  // Runs the image's function on the calling thread until it ends, however
  // long that takes. Throws std::runtime_error if it did anything but end; the
  // shell may be cleaned and used again all the same.
  virtual std::uint32_t run(std::uint32_t argument) = 0;

  // What run() has written since construction or the last reset(): at least
  // that, in whole pages, as extents in rising order that do not touch. Writes
  // by others (a device's, memory()'s) are not in it. May be called again, with
  // the same answer. Throws std::system_error.
  virtual std::vector<virtine::Extent> dirty() = 0;

  // To be called once the memory is clean again: registers as they were at
  // construction, and nothing is dirty. Throws std::system_error.
  virtual void reset() = 0;
};

}  // namespace lanecall

#endif
