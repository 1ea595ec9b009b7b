// SPDX-License-Identifier: Apache-2.0
#include <lanecall/async_scanner.h>
#include <thrift/protocol/TProtocol.h>

#include <algorithm>

namespace lanecall {
namespace {

using apache::thrift::protocol::TType;

// Of TBinaryProtocol.
constexpr std::uint32_t kVersionMask = 0xffff0000;
constexpr std::uint32_t kVersion = 0x80010000;

// Of TCompactProtocol.
constexpr std::uint8_t kCompactId = 0x82;
constexpr std::uint8_t kCompactVersion = 1;
constexpr std::uint8_t kCompactVersionMask = 0x1f;
enum Compact : std::uint8_t {
  kTrue = 1,
  kFalse,
  kByte,
  kI16,
  kI32,
  kI64,
  kDouble,
  kBinary,
  kList,
  kSet,
  kMap,
  kStruct,
};
constexpr int kVarintBytes = 10;

[[noreturn]] void reject(const char* why) {
  throw AsyncScanner::NoMessage(why);
}

// Of a value that has the same length always; else 0.
std::size_t fixedBytes(std::uint8_t type) {
  switch (type) {
    case TType::T_BOOL:
    case TType::T_BYTE:
      return 1;
    case TType::T_I16:
      return 2;
    case TType::T_I32:
      return 4;
    case TType::T_I64:
    case TType::T_DOUBLE:
      return 8;
    default:
      return 0;
  }
}

}  // namespace

// Each struct may hold a container that holds the next.
AsyncScanner::AsyncScanner(Protocol protocol, const Limits& limits)
    : protocol_(protocol),
      mostLevels_(2 * (static_cast<std::size_t>(limits.depth) + 1)) {}

void AsyncScanner::restart() {
  at_ = 0;
  begun_ = false;
  levels_.clear();
}

std::optional<std::size_t> AsyncScanner::scan(const std::uint8_t* data,
                                              std::size_t size) {
  data_ = data;
  size_ = size;
  while (!begun_ || !levels_.empty())
    if (at_ > size_ || !step()) return std::nullopt;
  if (at_ > size_) return std::nullopt;
  const std::size_t length = at_;
  restart();
  return length;
}

// ---- Bytes -----------------------------------------------------------------

bool AsyncScanner::has(std::size_t bytes) const {
  return at_ <= size_ && bytes <= size_ - at_;
}

// Big-endian, so far from here.
std::uint32_t AsyncScanner::word(std::size_t from) const {
  const std::uint8_t* p = data_ + at_ + from;
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 |
         std::uint32_t{p[2]} << 8 | p[3];
}

// So far from here; *end is where it ends, in the same terms.
bool AsyncScanner::varint(std::size_t from, std::uint64_t* value,
                          std::size_t* end) const {
  *value = 0;
  for (int i = 0; i < kVarintBytes; ++i) {
    if (!has(from + i + 1)) return false;
    const std::uint8_t byte = data_[at_ + from + i];
    *value |= std::uint64_t{byte & 0x7fu} << (7 * i);
    if (byte & 0x80) continue;
    *end = from + i + 1;
    return true;
  }
  reject("a number that does not end");
}

bool AsyncScanner::skip(std::uint64_t bytes) {
  at_ += bytes;
  leaveField();
  return true;
}

// ---- Levels ----------------------------------------------------------------

// The value that was asked for has begun: the level it is in goes on to the
// next.
void AsyncScanner::leaveField() {
  if (levels_.empty()) return;
  Level& level = levels_.back();
  if (level.isStruct)
    level.field = 0;
  else
    --level.left;
}

void AsyncScanner::enter(const Level& level) {
  leaveField();
  if (levels_.size() == mostLevels_) reject("structs nested too deep");
  levels_.push_back(level);
}

bool AsyncScanner::enterStruct() {
  enter({true, {0, 0}, 0});
  return true;
}

bool AsyncScanner::enterContainer(std::uint8_t even, std::uint8_t odd,
                                  std::uint64_t values, std::size_t bytes) {
  at_ += bytes;
  enter({false, {even, odd}, values});
  return true;
}

bool AsyncScanner::step() {
  if (!begun_) return head();
  Level& level = levels_.back();
  if (level.isStruct) return level.field ? value(level.field) : field();
  if (level.left == 0) {
    levels_.pop_back();
    return true;
  }
  return value(level.types[level.left % 2]);
}

bool AsyncScanner::head() {
  if (!(protocol_ == Protocol::kBinary ? headBinary() : headCompact()))
    return false;
  begun_ = true;
  return enterStruct();
}

bool AsyncScanner::field() {
  return protocol_ == Protocol::kBinary ? fieldBinary() : fieldCompact();
}

bool AsyncScanner::value(std::uint8_t type) {
  return protocol_ == Protocol::kBinary ? valueBinary(type)
                                        : valueCompact(type);
}

// ---- Binary ----------------------------------------------------------------

bool AsyncScanner::headBinary() {
  if (!has(8)) return false;
  if ((word(0) & kVersionMask) != kVersion) reject("no version word");
  const std::uint32_t name = word(4);
  if (name > INT32_MAX) reject("a name of less than no bytes");
  nameAt_ = at_ + 8;
  nameBytes_ = name;
  at_ += 8 + std::size_t{name} + 4;
  return true;
}

bool AsyncScanner::fieldBinary() {
  if (!has(1)) return false;
  const std::uint8_t type = data_[at_];
  if (type == TType::T_STOP) {
    at_ += 1;
    levels_.pop_back();
    return true;
  }
  if (!has(3)) return false;
  at_ += 3;
  levels_.back().field = type;
  return true;
}

bool AsyncScanner::valueBinary(std::uint8_t type) {
  if (const std::size_t bytes = fixedBytes(type)) return skip(bytes);
  switch (type) {
    case TType::T_STRING: {
      if (!has(4)) return false;
      const std::uint32_t size = word(0);
      if (size > INT32_MAX) reject("a string of less than no bytes");
      return skip(4 + std::uint64_t{size});
    }
    case TType::T_STRUCT:
      return enterStruct();
    case TType::T_LIST:
    case TType::T_SET:
      return listBinary();
    case TType::T_MAP:
      return mapBinary();
    default:
      reject("a value of no type");
  }
}

bool AsyncScanner::listBinary() {
  if (!has(5)) return false;
  const std::uint8_t type = data_[at_];
  const std::uint32_t items = word(1);
  if (items > INT32_MAX) reject("a list of less than no items");
  if (const std::size_t bytes = fixedBytes(type))
    return skip(5 + std::uint64_t{items} * bytes);
  return enterContainer(type, type, items, 5);
}

bool AsyncScanner::mapBinary() {
  if (!has(6)) return false;
  const std::uint8_t key = data_[at_];
  const std::uint8_t mapped = data_[at_ + 1];
  const std::uint32_t items = word(2);
  if (items > INT32_MAX) reject("a map of less than no items");
  return enterContainer(key, mapped, 2 * std::uint64_t{items}, 6);
}

// ---- Compact ---------------------------------------------------------------

bool AsyncScanner::headCompact() {
  if (!has(2)) return false;
  if (data_[at_] != kCompactId ||
      (data_[at_ + 1] & kCompactVersionMask) != kCompactVersion)
    reject("no protocol id");
  std::uint64_t sequence, name;
  std::size_t end;
  if (!varint(2, &sequence, &end) || !varint(end, &name, &end)) return false;
  if (name > INT32_MAX) reject("a name of more bytes than there can be");
  nameAt_ = at_ + end;
  nameBytes_ = name;
  at_ += end + name;
  return true;
}

bool AsyncScanner::fieldCompact() {
  if (!has(1)) return false;
  const std::uint8_t type = data_[at_] & 0x0f;
  const bool isShort = data_[at_] >> 4;
  if (type == TType::T_STOP) {
    at_ += 1;
    levels_.pop_back();
    return true;
  }
  std::uint64_t id;
  std::size_t end = 1;
  if (!isShort && !varint(1, &id, &end)) return false;
  at_ += end;
  // A field's truth is in its type.
  if (type != kTrue && type != kFalse) levels_.back().field = type;
  return true;
}

bool AsyncScanner::valueCompact(std::uint8_t type) {
  std::uint64_t number;
  std::size_t end;
  switch (type) {
    case kTrue:
    case kFalse:
    case kByte:
      return skip(1);
    case kI16:
    case kI32:
    case kI64:
      return varint(0, &number, &end) && skip(end);
    case kDouble:
      return skip(8);
    case kBinary:
      if (!varint(0, &number, &end)) return false;
      if (number > INT32_MAX) reject("a string of more bytes than can be");
      return skip(end + number);
    case kStruct:
      return enterStruct();
    case kList:
    case kSet:
      return listCompact();
    case kMap:
      return mapCompact();
    default:
      reject("a value of no type");
  }
}

bool AsyncScanner::listCompact() {
  constexpr std::uint8_t kLong = 15;
  if (!has(1)) return false;
  const std::uint8_t type = data_[at_] & 0x0f;
  std::uint64_t items = data_[at_] >> 4;
  std::size_t end = 1;
  if (items == kLong && !varint(1, &items, &end)) return false;
  if (items > INT32_MAX) reject("a list of more items than can be");
  return enterContainer(type, type, items, end);
}

bool AsyncScanner::mapCompact() {
  std::uint64_t items;
  std::size_t end;
  if (!varint(0, &items, &end)) return false;
  if (items == 0) return skip(end);
  if (items > INT32_MAX) reject("a map of more items than can be");
  if (!has(end + 1)) return false;
  const std::uint8_t types = data_[at_ + end];
  return enterContainer(types >> 4, types & 0x0f, 2 * items, end + 1);
}

// ---- Names -----------------------------------------------------------------

std::string AsyncScanner::nameOf(Protocol protocol, const std::uint8_t* data,
                                 std::size_t size) try {
  AsyncScanner head(protocol, {});
  head.data_ = data;
  head.size_ = size;
  if (!(protocol == Protocol::kBinary ? head.headBinary() : head.headCompact()))
    return {};
  return std::string(reinterpret_cast<const char*>(data) + head.nameAt_,
                     std::min(head.nameBytes_, size - head.nameAt_));
} catch (const NoMessage&) {
  return {};
}

}  // namespace lanecall
