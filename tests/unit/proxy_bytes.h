// SPDX-License-Identifier: Apache-2.0
//
// PROXY headers, good and bad, byte by byte.
#ifndef LANECALL_TESTS_UNIT_PROXY_BYTES_H
#define LANECALL_TESTS_UNIT_PROXY_BYTES_H

#include <cstdint>
#include <string>

namespace lanecall::test {

inline std::string bigEndian(std::uint64_t number, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
    text.push_back(static_cast<char>(number >> shift));
  return text;
}

inline std::string proxyField(int type, const std::string& value) {
  return static_cast<char>(type) + bigEndian(value.size(), 2) + value;
}

inline std::string proxyNumber(int type, std::uint32_t number) {
  return proxyField(type, bigEndian(number, 4));
}

inline std::string proxyHeader(const std::string& fields, char command = '\x21',
                               char family = '\0') {
  return std::string("\r\n\r\n\0\r\nQUIT\n", 12) + command + family +
         bigEndian(fields.size(), 2) + fields;
}

}  // namespace lanecall::test

#endif
