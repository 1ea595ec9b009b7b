// SPDX-License-Identifier: Apache-2.0
//
// What a channel that is open can lend memory to: the calls of its driver for
// regions (lanecall/driver.h). Made by who opens the node, shared with the
// regions on it, which may be there longer than the channel. Programs use
// region.h.
#ifndef LANECALL_LENDER_H
#define LANECALL_LENDER_H

#include <lanecall/driver.h>

#include <cstdint>
#include <shared_mutex>
#include <string>
#include <utility>

namespace lanecall {

// Each call returns 0 or a negated errno value; -ENOTCONN once the channel is
// closed, which takes all memory back. Any thread may call. Closing waits for
// calls that are under way, so it may block for as long as they do.
class Lender {
 public:
  Lender() = default;
  Lender(const Lender&) = delete;
  Lender& operator=(const Lender&) = delete;
  virtual ~Lender() = default;

  // Fills in what the driver returns. Blocks while pages are brought in.
  virtual int lend(lanecall_region_registration* region) = 0;
  // Blocks until the device can touch it no longer: 10 s by default, then the
  // driver resets the device.
  virtual int takeBack(std::uint32_t region) = 0;
  virtual int sync(const lanecall_region_sync& wanted) = 0;

  // For messages: which device.
  virtual std::string name() const = 0;
};

// On a node's descriptor, which it does not own.
class NodeLender : public Lender {
 public:
  NodeLender(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  int lend(lanecall_region_registration* region) override;
  int takeBack(std::uint32_t region) override;
  int sync(const lanecall_region_sync& wanted) override;
  std::string name() const override { return name_; }

  // Before the descriptor is closed; waits for calls that are under way, so
  // that none of them finds another file behind the descriptor's number.
  void end();

 private:
  int call(unsigned long request, void* argument);

  std::shared_mutex mutex_;  // calls share it
  int fd_;                   // -1: ended
  const std::string name_;
};

}  // namespace lanecall

#endif
