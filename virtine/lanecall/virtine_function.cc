// SPDX-License-Identifier: Apache-2.0
#include <lanecall/virtine_function.h>
#include <lanecall/virtine_function_abi.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

// functions.S
extern "C" {
extern const std::uint8_t lanecall_fibonacci[];
extern const std::uint8_t lanecall_fibonacci_end[];
extern const std::uint8_t lanecall_secret_hunter[];
extern const std::uint8_t lanecall_secret_hunter_end[];
extern const std::uint8_t lanecall_page_writer[];
extern const std::uint8_t lanecall_page_writer_end[];
}

namespace lanecall {
namespace {

std::uint32_t fib(std::uint32_t n) {
  return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

std::uint32_t modelOfFibonacci(ModelMemory& memory, std::uint32_t argument) {
  const std::uint32_t result = fib(argument);
  // What the machine code's calls leave on the stack.
  memory.write(LANECALL_VIRTINE_STACK - 4, result);
  return result;
}

std::uint32_t read(const ModelMemory& memory, std::size_t offset) {
  std::uint32_t value;
  std::memcpy(&value, memory.bytes().data() + offset, sizeof value);
  return value;
}

void leaveSecret(ModelMemory& memory, std::size_t offset) {
  memory.write(offset, LANECALL_SECRET_LOW);
  memory.write(offset + 4, LANECALL_SECRET_HIGH);
}

std::uint32_t modelOfSecretHunter(ModelMemory& memory, std::uint32_t argument) {
  const std::size_t bytes = memory.bytes().size();
  std::uint32_t found = 0;
  for (std::size_t at = 0; at < bytes; at += 8)
    found += read(memory, at) == LANECALL_SECRET_LOW &&
             read(memory, at + 4) == LANECALL_SECRET_HIGH;
  const std::size_t inPage = argument & (LANECALL_PAGE_BYTES - 8);
  for (std::size_t at = LANECALL_PAGE_BYTES + inPage; at < bytes;
       at += LANECALL_SECRET_STEP)
    leaveSecret(memory, at);
  leaveSecret(memory, bytes - 8);
  return found;
}

std::uint32_t modelOfPageWriter(ModelMemory& memory, std::uint32_t argument) {
  const std::size_t bytes = memory.bytes().size();
  const std::size_t pages = bytes / LANECALL_PAGE_BYTES;
  const std::size_t wanted = std::min<std::size_t>(argument, pages);
  std::size_t due = 0;  // of pages, for the next
  for (std::size_t at = LANECALL_PAGE_BYTES - 8; at < bytes;
       at += LANECALL_PAGE_BYTES) {
    due += wanted;
    if (due < pages) continue;
    due -= pages;
    memory.write(at, ~read(memory, at));
  }
  return wanted;
}

// Bytes that look random: a pattern that no part of repeats nearby.
void fillWithPattern(std::span<std::uint8_t> bytes) {
  std::uint64_t state = 0x9e3779b97f4a7c15;
  for (std::uint8_t& byte : bytes) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = state >> 56;
  }
}

}  // namespace

const VirtineFunction& fibonacci() {
  static const VirtineFunction function{
      "fibonacci",
      {lanecall_fibonacci, lanecall_fibonacci_end},
      modelOfFibonacci};
  return function;
}

const VirtineFunction& secretHunter() {
  static const VirtineFunction function{
      "secret hunter",
      {lanecall_secret_hunter, lanecall_secret_hunter_end},
      modelOfSecretHunter};
  return function;
}

const VirtineFunction& pageWriter() {
  static const VirtineFunction function{
      "page writer",
      {lanecall_page_writer, lanecall_page_writer_end},
      modelOfPageWriter};
  return function;
}

std::shared_ptr<const VirtineImage> makeVirtineImage(
    const VirtineFunction& function, std::size_t bytes) {
  if (bytes < function.code.size())
    throw std::invalid_argument("an image of " + std::to_string(bytes) +
                                " bytes has no room for " + function.name +
                                "'s code; give it at least " +
                                std::to_string(function.code.size()));
  auto image = std::make_shared<VirtineImage>(
      VirtineImage{&function, std::vector<std::uint8_t>(bytes)});
  fillWithPattern(image->bytes);
  std::copy(function.code.begin(), function.code.end(), image->bytes.begin());
  return image;
}

}  // namespace lanecall
