// SPDX-License-Identifier: Apache-2.0
#include <lanecall/log_field.h>

#include <algorithm>

namespace lanecall {
namespace {

constexpr std::size_t kMostLogged = 512;

bool is_unsafe(unsigned char c) {
  return c < 0x20 || c == 0x7f || c == '"' || c == '\\';
}

}  // namespace

std::string logField(std::string_view text) {
  std::string field(text.substr(0, kMostLogged));
  std::replace_if(field.begin(), field.end(), is_unsafe, '?');
  return field;
}

}  // namespace lanecall
