// SPDX-License-Identifier: Apache-2.0
//
// The functions that virtines run here: machine code for a virtual machine,
// and beside it a model in C++ that does the same to a memory where there is
// none.
#ifndef LANECALL_VIRTINE_FUNCTION_H
#define LANECALL_VIRTINE_FUNCTION_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace lanecall {

class ModelMemory;

struct VirtineFunction {
  const char* name;
  std::span<const std::uint8_t> code;
  std::uint32_t (*model)(ModelMemory& memory, std::uint32_t argument);
};

// The argument-th Fibonacci number, modulo 2^32, by calling itself: it takes
// about 1.6 times as long for each more.
const VirtineFunction& fibonacci();

// Answers how often it finds the secret of an earlier run, in memory and
// registers; then it leaves the secret all over both. The argument chooses
// where in the pages.
const VirtineFunction& secretHunter();

// Writes in so many pages, evenly spread over the memory, but at most all, and
// answers how many they were.
const VirtineFunction& pageWriter();

// A function and what it finds in memory when it begins.
struct VirtineImage {
  const VirtineFunction* function;
  std::vector<std::uint8_t> bytes;
};

// So many bytes, which begin with the code; the rest, its libraries and data as
// it were, looks random, and is the same each time. std::invalid_argument if
// the code needs more.
std::shared_ptr<const VirtineImage> makeVirtineImage(
    const VirtineFunction& function, std::size_t bytes);

// What a model works on.
class ModelMemory {
 public:
  virtual std::span<const std::uint8_t> bytes() const = 0;
  // At a multiple of 4, inside.
  virtual void write(std::size_t offset, std::uint32_t value) = 0;

 protected:
  ~ModelMemory() = default;
};

}  // namespace lanecall

#endif
