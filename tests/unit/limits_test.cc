// SPDX-License-Identifier: Apache-2.0
//
// What a few hostile bytes can make Thrift allocate. This program counts its
// own allocations.
#include <edu/Edu.h>
#include <gtest/gtest.h>
#include <lanecall/buffered.h>
#include <lanecall/limits.h>
#include <malloc.h>
#include <thrift/protocol/TProtocolException.h>
#include <thrift/transport/TBufferTransports.h>
#include <virtine/VirtineCleanup.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <initializer_list>
#include <new>
#include <string>

namespace {

std::atomic<std::size_t> largest{0};

void* counted(std::size_t size) {
  std::size_t seen = largest;
  while (size > seen && !largest.compare_exchange_weak(seen, size)) {
  }
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace lanecall {
namespace {

using namespace apache::thrift;
using transport::TMemoryBuffer;

// Lets a server's processor read these bytes as a call; returns the largest
// allocation that came of it. It must be refused.
template <typename Processor>
std::size_t largestFor(const std::string& bytes, Protocol protocol,
                       Framing framing) {
  auto memory = std::make_shared<TMemoryBuffer>();
  memory->write(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                bytes.size());
  Limits limits;
  auto through = stack(memory, framing, limits);
  auto both = protocolFactory(protocol, limits)->getProtocol(through);
  Processor processor(nullptr);
  largest = 0;
  EXPECT_THROW(processor.process(both, both, nullptr), TException);
  return largest;
}

constexpr std::size_t kModest = 2 << 20;

TEST(LimitsTest, FiveBytesDoNotMakeATwoGigabyteName) {
  const std::string bytes("\x7e\xee\x10\xf5\x95", 5);
  EXPECT_LT(largestFor<edu::EduProcessor>(bytes, Protocol::kBinary,
                                          Framing::kBuffered),
            kModest);
}

TEST(LimitsTest, AnAnnouncedNameIsNotAllocated) {
  // Version and type, then a name of 60 MB of which nothing comes.
  const std::string bytes("\x80\x01\x00\x01\x03\x93\x87\x00", 8);
  EXPECT_LT(largestFor<edu::EduProcessor>(bytes, Protocol::kBinary,
                                          Framing::kBuffered),
            kModest);
}

TEST(LimitsTest, AnAnnouncedListIsRefused) {
  // scale() with a list of 15 million numbers.
  const std::string bytes(
      "\x80\x01\x00\x01\x00\x00\x00\x05scale\x00\x00\x00\x00"
      "\x0f\x00\x01\x08\x00\xe4\xe1\xc0",
      25);
  EXPECT_LT(largestFor<edu::EduProcessor>(bytes, Protocol::kBinary,
                                          Framing::kBuffered),
            kModest);
}

TEST(LimitsTest, AnOversizedFrameIsRefused) {
  const std::string bytes("\x7f\xff\xff\xff\x80", 5);
  EXPECT_LT(
      largestFor<edu::EduProcessor>(bytes, Protocol::kBinary, Framing::kFramed),
      kModest);
}

TEST(LimitsTest, DeepNestingIsRefused) {
  // An unknown field of structs in structs, deeper than any stack would like.
  std::string bytes("\x80\x01\x00\x01\x00\x00\x00\x04ping\x00\x00\x00\x00", 16);
  for (int i = 0; i < 1'000'000; ++i) bytes += std::string("\x0c\x00\x01", 3);
  EXPECT_LT(largestFor<edu::EduProcessor>(bytes, Protocol::kBinary,
                                          Framing::kBuffered),
            kModest);
}

std::size_t bytesInUse() {
  const struct mallinfo2 heap = ::mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

TEST(LimitsTest, ALongStringIsNotKeptAfterItsMessage) {
  const Limits limits;
  edu::EduProcessor processor(std::make_shared<edu::EduNull>());
  for (Protocol kind : {Protocol::kBinary, Protocol::kCompact}) {
    auto memory = std::make_shared<TMemoryBuffer>();
    auto protocol = protocolFactory(kind, limits)->getProtocol(memory);
    edu::EduClient(protocol).send_note(std::string(8 << 20, 'x'));
    const std::size_t before = bytesInUse();
    ASSERT_TRUE(processor.process(protocol, protocol, nullptr));
    EXPECT_LT(bytesInUse(), before + (1 << 20)) << name(kind);
  }
}

TEST(LimitsTest, WhatThriftSaysOfALimitIsExplainedWithItsOption) {
  using protocol::TProtocolException;
  using transport::TTransportException;
  Limits limits;
  limits.messageBytes = 1001;
  limits.stringBytes = 1002;
  limits.containerItems = 1003;
  limits.depth = 1004;
  auto expectHas = [](const std::string& text,
                      std::initializer_list<const char*> parts) {
    for (const char* part : parts)
      EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  expectHas(
      explainLimit(TProtocolException(TProtocolException::SIZE_LIMIT), limits),
      {"1002", "--max-string", "1003", "--max-container",
       "Limits::containerItems"});
  expectHas(
      explainLimit(TProtocolException(TProtocolException::DEPTH_LIMIT), limits),
      {"1004", "--max-depth"});
  for (const char* text :
       {"MaxMessageSize reached", "Received an oversized frame"})
    expectHas(explainLimit(
                  TTransportException(TTransportException::END_OF_FILE, text),
                  limits),
              {"1001", "--max-message"});
  EXPECT_EQ(
      explainLimit(TProtocolException(TProtocolException::BAD_VERSION), limits),
      "");
  EXPECT_EQ(explainLimit(TTransportException("No more data to read."), limits),
            "");
}

TEST(LimitsTest, RandomBytesStayModest) {
  std::uint64_t state = 88172645463325252u;  // fixed: a failure repeats
  auto next = [&] {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  };
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes(next() % 64, '\0');
    for (char& c : bytes) c = char(next());
    // Half of them get past the first check.
    if (i % 2 && bytes.size() > 4)
      bytes.replace(0, 4, std::string("\x80\x01\x00\x01", 4));
    for (Protocol protocol : {Protocol::kBinary, Protocol::kCompact})
      ASSERT_LT(largestFor<virtine::VirtineCleanupProcessor>(
                    bytes, protocol, Framing::kBuffered),
                kModest)
          << "case " << i;
  }
}

}  // namespace
}  // namespace lanecall
