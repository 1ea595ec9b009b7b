// SPDX-License-Identifier: Apache-2.0
//
// A way for calls to go, as named on the command line:
//
//   NAME=KIND:ADDRESS[,option=value...]
//
//   pcie:/dev/lanecall0   mode=mapped|rw|auto, spin=never|always|adaptive|US,
//                         ring=BYTES (of both; 0: what suits the test)
//   tcp:HOST:PORT
//   unix:/path
//   serial:/dev/PORT      ports=N; %d in the address is the client's number.
//                         A character device that leads to a server
//   memory:               encode, decode and the handler, in one thread
//
// Of all: framing=buffered|framed; of sockets and serial ports: buffer=BYTES.
#ifndef LANECALL_BENCH_CHANNEL_H
#define LANECALL_BENCH_CHANNEL_H

#include <lanecall/buffered.h>
#include <lanecall/device_ring_io.h>
#include <lanecall/spin.h>

#include <cstdint>
#include <string>

namespace lanecall::bench {

struct Channel {
  enum class Kind { kPcie, kTcp, kUnix, kSerial, kMemory };

  std::string name;
  Kind kind = Kind::kMemory;
  std::string address;     // a path, or tcp's host
  std::uint16_t port = 0;  // tcp
  Framing framing = Framing::kBuffered;
  std::uint32_t bufferBytes = 64 << 10;
  int ports = 1;
  DeviceMode mode = DeviceMode::kMapped;
  Spin spin = Spin::adaptive();
  std::uint32_t ringBytes = 0;
};

// std::invalid_argument, one line, for what is no channel.
Channel parseChannel(const std::string& text);

// The address as lanecall::openTransport() takes it; std::invalid_argument for
// serial and memory.
std::string uriOf(const Channel& channel);

}  // namespace lanecall::bench

#endif
