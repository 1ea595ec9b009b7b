// SPDX-License-Identifier: Apache-2.0
#include <lanecall/proxy.h>
#include <lanecall/proxy_header.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

namespace lanecall {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t kFieldsMost = 512;

[[noreturn]] void fail(const std::string& what) {
  throw NoProxyHeader(what + "; --proxy is for devices with proxy=on");
}

void require(bool kept, const char* otherwise) {
  if (!kept) fail(otherwise);
}

Bytes signature() {
  return {reinterpret_cast<const std::uint8_t*>(LANECALL_PROXY_SIGNATURE),
          LANECALL_PROXY_SIGNATURE_BYTES};
}

bool is_as_far_as_it_goes(Bytes begin) {
  const std::size_t bytes = std::min(begin.size(), signature().size());
  return std::ranges::equal(begin.first(bytes), signature().first(bytes));
}

std::size_t shortOf(const __u8 (&bytes)[2]) { return bytes[0] << 8 | bytes[1]; }

std::uint32_t numberOf(Bytes value) {
  require(value.size() == 4, "a PROXY field of another length than its type");
  return std::uint32_t{value[0]} << 24 | std::uint32_t{value[1]} << 16 |
         std::uint32_t{value[2]} << 8 | value[3];
}

std::string nameOf(Bytes value) {
  require(!value.empty() && value.size() <= LANECALL_PROXY_DEVICE_MAX,
          "a PROXY field of another length than its type");
  return deviceWord(
      {reinterpret_cast<const char*>(value.data()), value.size()});
}

// All of it. Looks at what came after each read, so that who says something
// else need not say so much of it.
void readAll(const ReadBytes& read, std::span<std::uint8_t> into,
             bool isBeginning) {
  for (std::size_t have = 0; have < into.size();) {
    const std::uint32_t got = read(
        into.data() + have, static_cast<std::uint32_t>(into.size() - have));
    require(got > 0, "the connection ended inside its PROXY header");
    have += got;
    require(!isBeginning || is_as_far_as_it_goes(into.first(have)),
            "the connection does not begin with a PROXY header");
  }
}

// How many bytes of fields there are.
std::size_t readBeginning(const ReadBytes& read) {
  lanecall_proxy_header header;
  readAll(read, {reinterpret_cast<std::uint8_t*>(&header), sizeof header},
          true);
  require(header.command == LANECALL_PROXY_COMMAND,
          "a PROXY header of another version or command");
  require(header.family == LANECALL_PROXY_FAMILY,
          "a PROXY header with addresses, of a load balancer perhaps");
  const std::size_t bytes = shortOf(header.bytes);
  require(bytes <= kFieldsMost, "a PROXY header that is too long");
  return bytes;
}

// The next field; takes it off the front.
Bytes takeField(Bytes& fields, std::uint8_t* type) {
  lanecall_proxy_field field;
  require(fields.size() >= sizeof field, "a PROXY field that is cut off");
  std::copy_n(fields.begin(), sizeof field,
              reinterpret_cast<std::uint8_t*>(&field));
  fields = fields.subspan(sizeof field);
  const std::size_t bytes = shortOf(field.bytes);
  require(fields.size() >= bytes, "a PROXY field that is cut off");
  const Bytes value = fields.first(bytes);
  fields = fields.subspan(bytes);
  *type = field.type;
  return value;
}

void takeNumber(std::optional<std::uint32_t>& number, Bytes value) {
  require(!number, "a PROXY field that comes twice");
  number = numberOf(value);
}

Caller callerOfFields(Bytes fields) {
  Caller caller;
  while (!fields.empty()) {
    std::uint8_t type;
    const Bytes value = takeField(fields, &type);
    if (type == LANECALL_PROXY_DEVICE) {
      require(caller.device.empty(), "a PROXY field that comes twice");
      caller.device = nameOf(value);
    } else if (type == LANECALL_PROXY_CHANNEL) {
      takeNumber(caller.channel, value);
    } else if (type == LANECALL_PROXY_USER) {
      takeNumber(caller.uid, value);
    }
  }
  return caller;
}

}  // namespace

bool is_proxy_header(Bytes begin) {
  return begin.size() >= signature().size() && is_as_far_as_it_goes(begin);
}

Caller readProxyHeader(const ReadBytes& read) {
  std::array<std::uint8_t, kFieldsMost> fields;
  const std::size_t bytes = readBeginning(read);
  readAll(read, std::span(fields).first(bytes), false);
  return callerOfFields(std::span(fields).first(bytes));
}

}  // namespace lanecall
