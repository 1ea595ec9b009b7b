// SPDX-License-Identifier: Apache-2.0
//
// The far end of an AsyncChannel under test, played by the test itself: over a
// socket pair, or over two rings in memory whose near end is told of bytes and
// room only if it asked.
#ifndef LANECALL_TESTS_ASYNC_FAR_H
#define LANECALL_TESTS_ASYNC_FAR_H

#include <lanecall/ring_io.h>

#include <functional>
#include <memory>
#include <string>

namespace lanecall::test {

class AsyncFar {
 public:
  enum Kind { kSocket, kRings };
  static constexpr std::uint32_t kRingBytes = 4096;  // of kRings

  static std::unique_ptr<AsyncFar> make(Kind kind);

  virtual ~AsyncFar() = default;

  // For the channel; once each time that it opens.
  virtual std::unique_ptr<RingIo> near() = 0;
  virtual int descriptor() = 0;

  // What open() and status() of the near end say next, once each.
  int nextOpen = 0;
  int nextStatus = 0;

  // All that has come.
  virtual std::string take() = 0;
  // Sends what goes now, and removes it.
  virtual void put(std::string* bytes) = 0;
  // The connection ends: in order, or with an error (negated errno).
  virtual void end(int how) = 0;
  // Whether the near end was closed.
  virtual bool isClosed() = 0;

  // Of kRings: how often it was told, and the words both sides see.
  virtual int told() { return 0; }
  virtual lanecall_index_page* words() { return nullptr; }
};

}  // namespace lanecall::test

#endif
