// SPDX-License-Identifier: Apache-2.0
#include "page.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace lanecall::test {
namespace {

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(' ');
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

// The cells of "| a | b |"; nothing for a line that is no row.
Row cells(const std::string& line) {
  Row row;
  if (!line.starts_with('|')) return row;
  std::istringstream in(line.substr(1));
  for (std::string cell; std::getline(in, cell, '|');) {
    row.push_back(trimmed(cell));
  }
  return row;
}

std::vector<PageRegister> registersAfter(const std::string& heading) {
  std::ifstream page(LANECALL_DEVICE_MD);
  std::string line;
  while (std::getline(page, line) && line != heading) {
  }
  std::vector<PageRegister> registers;
  bool inside = false;
  while (std::getline(page, line)) {
    const Row row = cells(line);
    if (row.empty() && inside) break;
    if (row.size() != 5) continue;
    inside = true;
    if (row[0] == "offset" || row[0].starts_with('-')) continue;
    PageRegister reg{{}, row[1], row[2], row[3]};
    std::istringstream offsets(row[0]);
    for (std::string offset; std::getline(offsets, offset, ',');) {
      reg.offsets.push_back(hex(trimmed(offset)));
    }
    registers.push_back(reg);
  }
  if (registers.empty()) throw std::runtime_error("no table after " + heading);
  return registers;
}

}  // namespace

uint32_t hex(const std::string& text) {
  size_t used = 0;
  const unsigned long value = std::stoul(text, &used, 16);
  if (used != text.size()) throw std::runtime_error("not hexadecimal: " + text);
  return static_cast<uint32_t>(value);
}

std::vector<Row> tableOfPage(const Row& header) {
  std::ifstream page(LANECALL_DEVICE_MD);
  std::vector<Row> rows;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    const Row row = cells(line);
    if (inside && row.empty()) break;
    if (inside && !row[0].starts_with('-')) rows.push_back(row);
    inside |= row == header;
  }
  if (rows.empty()) throw std::runtime_error("no such table in the page");
  return rows;
}

std::vector<PageRegister> deviceRegistersOfPage() {
  return registersAfter("## Device registers");
}

std::vector<PageRegister> channelRegistersOfPage() {
  return registersAfter("## Channels");
}

std::vector<PageRegister> regionRegistersOfPage() {
  return registersAfter("## Regions");
}

}  // namespace lanecall::test
