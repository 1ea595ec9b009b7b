// SPDX-License-Identifier: Apache-2.0
//
// Finds where a message ends whose length nobody says: looks at its types and
// lengths as they come, bit by bit, each once, and never waits or recurses.
// Values are not looked at; whoever parses the message checks those.
#ifndef LANECALL_ASYNC_SCANNER_H
#define LANECALL_ASYNC_SCANNER_H

#include <lanecall/limits.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace lanecall {

class AsyncScanner {
 public:
  struct NoMessage : std::runtime_error {
    using std::runtime_error::runtime_error;
  };

  // Of limits it keeps depth.
  AsyncScanner(Protocol protocol, const Limits& limits);

  // What has come of a message, from its first byte, in memory that may have
  // moved since: its length, or none if the end is not there yet. After a
  // length the next message is begun. Throws NoMessage, whose text is a reason
  // only.
  std::optional<std::size_t> scan(const std::uint8_t* data, std::size_t size);

  // How long the message is at least, by what was seen. 64 bits hold it: what
  // one length says is less than 2^35.
  std::size_t atLeast() const { return at_; }

  void restart();

  // The name in a message's head, or its beginning, to speak of it; empty if
  // there is none.
  static std::string nameOf(Protocol protocol, const std::uint8_t* data,
                            std::size_t size);

 private:
  // A struct, or a container, that has begun and not ended.
  struct Level {
    bool isStruct;
    std::uint8_t types[2];   // a container's: of even and odd values to come
    std::uint64_t left;      // values of a container
    std::uint8_t field = 0;  // type of a field whose value comes; 0: none
  };

  // Each does one step at at_ if all the bytes it needs are there.
  bool step();
  bool head();
  bool field();
  bool value(std::uint8_t type);
  bool container(std::uint8_t type);

  bool headBinary();
  bool headCompact();
  bool fieldBinary();
  bool fieldCompact();
  bool valueBinary(std::uint8_t type);
  bool valueCompact(std::uint8_t type);
  bool listBinary();
  bool mapBinary();
  bool listCompact();
  bool mapCompact();

  bool has(std::size_t bytes) const;
  std::uint32_t word(std::size_t from) const;
  bool varint(std::size_t from, std::uint64_t* value, std::size_t* end) const;
  bool skip(std::uint64_t bytes);
  bool enterStruct();
  bool enterContainer(std::uint8_t even, std::uint8_t odd, std::uint64_t values,
                      std::size_t bytes);
  void enter(const Level& level);
  void leaveField();

  const Protocol protocol_;
  const std::size_t mostLevels_;
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t at_ = 0;  // may be beyond size_
  bool begun_ = false;  // the head was seen
  std::size_t nameAt_ = 0;
  std::size_t nameBytes_ = 0;
  std::vector<Level> levels_;
};

}  // namespace lanecall

#endif
