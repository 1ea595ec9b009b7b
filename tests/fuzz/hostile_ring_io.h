// SPDX-License-Identifier: Apache-2.0
//
// Rings whose other side writes what it likes, at each look of ours. What it
// does is chosen by a fuzzer's bytes; once they are used up the channel ends.
#ifndef LANECALL_TESTS_FUZZ_HOSTILE_RING_IO_H
#define LANECALL_TESTS_FUZZ_HOSTILE_RING_IO_H

#include <lanecall/mapping.h>
#include <lanecall/ring_io.h>

#include <cstdint>
#include <string>
#include <vector>

#include "choices.h"

namespace lanecall::fuzz {

class HostileRingIo : public RingIo {
 public:
  // What it has to say that is right, for the rest to be built on.
  using Messages = std::vector<std::string>;

  HostileRingIo(Choices& choices, const Messages& messages);

  int open() override { return -ENOTCONN; }
  int status() override { return 0; }
  Ring& outgoing() override { return outgoing_; }
  Ring& incoming() override { return incoming_; }
  void notify() override {}
  int end() const override;
  int poll(short events, int timeoutMs) override;
  void interrupt() override { interrupted_ = true; }
  void close() override { open_ = false; }
  void refuse() override;
  bool isOpen() const override { return open_; }
  std::string name() const override { return "hostile"; }

  bool isRefused() const { return refused_; }

  // Whether a look since forgetLies() found neither index possible.
  bool hasOnlyLied() const { return onlyLied_; }
  void forgetLies() { onlyLied_ = false; }

  // Ends the program if our side did what no side may.
  void requireInOrder();

 private:
  void act();
  void say();
  void sayMessage();
  void take();
  void writeOurs();
  std::uint32_t lie(const lanecall_ring& victim);

  Choices& choices_;
  const Messages& messages_;
  lanecall_index_page& page_;
  Ring outgoing_;
  Ring incoming_;
  // What the other side has written into its words.
  lanecall_producer said_{};
  lanecall_consumer heard_{};
  int end_ = 0;
  bool open_ = true;
  bool refused_ = false;
  bool interrupted_ = false;
  bool onlyLied_ = false;
  bool wroteOurs_ = false;
};

}  // namespace lanecall::fuzz

#endif
