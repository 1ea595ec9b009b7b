// SPDX-License-Identifier: Apache-2.0
// docs/device.md as tests read it: its tables, row by row.
#ifndef LANECALL_TESTS_PAGE_H
#define LANECALL_TESTS_PAGE_H

#include <cstdint>
#include <string>
#include <vector>

namespace lanecall::test {

using Row = std::vector<std::string>;

// The rows of the table with that header row (its cells' texts), without the
// header. Throws std::runtime_error if the page has no such table.
std::vector<Row> tableOfPage(const Row& header);

struct PageRegister {
  std::vector<uint32_t> offsets;  // of its low and high word, or of one
  std::string name;
  std::string access;
  std::string reset;  // hexadecimal, or `property=`, or empty
};

// The device's registers, a channel's, and those for regions, in the order of
// the page.
std::vector<PageRegister> deviceRegistersOfPage();
std::vector<PageRegister> channelRegistersOfPage();
std::vector<PageRegister> regionRegistersOfPage();

uint32_t hex(const std::string& text);

}  // namespace lanecall::test

#endif
