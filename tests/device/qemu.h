// SPDX-License-Identifier: Apache-2.0
// A QEMU of ours with no guest in it: started with -accel qtest, its devices
// driven over the qtest protocol, itself over QMP. Both run on socket pairs
// that QEMU inherits, so there is no path or port to collide.
//
// The guest's RAM is a memory file that the test maps too. An interrupt is a
// write to RAM (tests point MSI messages there), and nothing tells of a write
// to RAM, so tests look again and again, with a round trip to QEMU in between.
#ifndef LANECALL_TESTS_QEMU_H
#define LANECALL_TESTS_QEMU_H

#include <lanecall/deadline.h>
#include <lanecall/descriptor.h>
#include <sys/types.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "guest_memory.h"

namespace lanecall::test {

struct QemuOptions {
  std::vector<std::string> arguments{};  // -device and whatever else
  std::string machine = "q35";
  size_t memory_bytes = size_t{256} << 20;
};

// Any thread may call. Whatever goes wrong with QEMU itself is thrown as
// std::runtime_error with what QEMU said.
class Qemu {
 public:
  explicit Qemu(const QemuOptions& options);
  ~Qemu();  // kills it
  Qemu(const Qemu&) = delete;
  Qemu& operator=(const Qemu&) = delete;

  GuestMemory& memory() { return memory_; }

  // One qtest command; its answer without the "OK".
  std::string qtest(const std::string& command);
  // Many commands without a wait between them; their answers are dropped.
  void qtestAll(const std::vector<std::string>& commands);
  uint64_t readMemory(uint64_t address, unsigned width);
  void writeMemory(uint64_t address, unsigned width, uint64_t value);
  uint32_t inl(uint16_t port);
  void outl(uint16_t port, uint32_t value);
  void clockStep(uint64_t ns);
  // Lets the main loop turn.
  void turn() { qtest("endianness"); }
  // After irq_intercept_in: is that input high, as far as QEMU has told?
  bool irqLevel(unsigned number);

  // One QMP command; its answer's line, an error too.
  std::string qmp(const std::string& command);
  // Waits for an event that has come since the last wait for it, or comes.
  bool waitEvent(const std::string& name, const Deadline& deadline);

  // Ends it in order. Throws if it does not end, or not with status 0.
  void quit();

  pid_t pid() const { return pid_; }
  bool alive();
  std::string said() const;  // its standard error

 private:
  std::string qtestLine();
  bool readQmpLine(std::string& line, const Deadline& deadline);
  [[noreturn]] void died(const std::string& doing);

  GuestMemory memory_;
  std::mutex mutex_;
  Descriptor qtest_, qmp_, stderr_;
  std::string qtest_buffer_, qmp_buffer_;
  std::vector<std::string> events_;
  std::map<unsigned, bool> irqs_;
  pid_t pid_ = -1;
};

// Runs a QEMU that is expected to refuse its command line.
struct Refusal {
  int status;  // of exit(), or -1 if it did not exit by itself in time
  std::string said;
};
Refusal runUntilExit(const std::vector<std::string>& arguments,
                     const Deadline& deadline);

}  // namespace lanecall::test

#endif
