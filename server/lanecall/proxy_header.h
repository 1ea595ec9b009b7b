// SPDX-License-Identifier: Apache-2.0
//
// The header of the PROXY protocol, version 2, that a device with proxy=on
// begins a connection with (lanecall/proxy.h). Internal to the server library.
#ifndef LANECALL_PROXY_HEADER_H
#define LANECALL_PROXY_HEADER_H

#include <lanecall/caller.h>

#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>

namespace lanecall {

// What came is no such header; says what to do about it.
class NoProxyHeader : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// At least one byte, at most that many; 0 at the end. May throw.
using ReadBytes =
    std::function<std::uint32_t(std::uint8_t* data, std::uint32_t size)>;

// Takes the header, to its last byte and no further: at most 16 bytes and 512
// of fields. Fields of other types than ours are passed over. Throws
// NoProxyHeader as soon as a byte is wrong, and what read throws.
Caller readProxyHeader(const ReadBytes& read);

// Whether it is one, as far as it goes: 12 bytes are enough to know.
bool is_proxy_header(std::span<const std::uint8_t> begin);

}  // namespace lanecall

#endif
