// SPDX-License-Identifier: Apache-2.0
//
// Who a device says has opened a channel: the PROXY header, whatever comes in
// its place, and the rules about it.
#include <gtest/gtest.h>
#include <lanecall/caller.h>
#include <lanecall/policy.h>
#include <lanecall/proxy_header.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>

#include "../seed.h"
#include "proxy_bytes.h"

namespace lanecall {
namespace {

using test::proxyField;
using test::proxyHeader;
using test::proxyNumber;

// Bytes that come a few at a time, and then the end.
class Stream {
 public:
  explicit Stream(std::string bytes, std::size_t atOnce = 1000)
      : bytes_(std::move(bytes)), atOnce_(atOnce) {}

  Caller readHeader() {
    return readProxyHeader([this](std::uint8_t* data, std::uint32_t size) {
      const std::size_t some =
          std::min({std::size_t{size}, atOnce_, bytes_.size() - taken_});
      std::memcpy(data, bytes_.data() + taken_, some);
      taken_ += some;
      return static_cast<std::uint32_t>(some);
    });
  }
  std::size_t taken() const { return taken_; }

 private:
  const std::string bytes_;
  const std::size_t atOnce_;
  std::size_t taken_ = 0;
};

const std::string kFields = proxyField(0xe0, "edu0") + proxyNumber(0xe1, 3) +
                            proxyNumber(0xe2, 0x01020304);
const Caller kCaller{"edu0", 3, 0x01020304};

void expectNone(const std::string& bytes, const char* why) {
  try {
    Stream(bytes).readHeader();
    ADD_FAILURE() << "taken, not " << why;
  } catch (const NoProxyHeader& error) {
    EXPECT_NE(std::string(error.what()).find(why), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("proxy=on"), std::string::npos);
  }
}

TEST(ProxyHeader, TellsWhoOpenedTheChannelAndTakesNoByteMore) {
  const std::string header = proxyHeader(kFields);
  for (std::size_t atOnce : {1, 2, 5, 1000}) {
    Stream stream(header + "a call", atOnce);
    EXPECT_EQ(stream.readHeader(), kCaller) << atOnce;
    EXPECT_EQ(stream.taken(), header.size());
  }
}

TEST(ProxyHeader, FieldsComeInAnyOrderOrNotAtAll) {
  EXPECT_EQ(Stream(proxyHeader("")).readHeader(), Caller());
  EXPECT_EQ(Stream(proxyHeader(proxyNumber(0xe2, 0))).readHeader(),
            (Caller{"", {}, 0}));
  EXPECT_EQ(Stream(proxyHeader(proxyNumber(0xe2, 7) + proxyField(0xe0, "x")))
                .readHeader(),
            (Caller{"x", {}, 7}));
}

TEST(ProxyHeader, FieldsOfOthersArePassedOver) {
  EXPECT_EQ(Stream(proxyHeader(proxyField(0x02, "name") +
                               proxyField(0xee, std::string(400, '\xff')) +
                               kFields + proxyField(0x04, "")))
                .readHeader(),
            kCaller);
}

TEST(ProxyHeader, ADevicesNameBecomesAWord) {
  EXPECT_EQ(Stream(proxyHeader(proxyField(0xe0, "a\"\nb=c/..-_:1")))
                .readHeader()
                .device,
            "a__b_c_..-_:1");
}

TEST(ProxyHeader, WhatIsNoneIsRefusedAtItsFirstWrongByte) {
  const std::string call("\x80\x01\x00\x01\x00\x00\x00\x04ping", 12);
  Stream stream(call, 1);
  EXPECT_THROW(stream.readHeader(), NoProxyHeader);
  EXPECT_EQ(stream.taken(), 1u);
  expectNone(call, "does not begin with a PROXY header");
  expectNone("PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n", "does not begin");
  expectNone("", "ended inside");
}

TEST(ProxyHeader, EveryPartOfItHasToBeThere) {
  const std::string header = proxyHeader(kFields);
  for (std::size_t bytes = 0; bytes < header.size(); ++bytes)
    expectNone(header.substr(0, bytes), "ended inside");
}

TEST(ProxyHeader, OtherVersionsCommandsAndFamiliesAreRefused) {
  for (const char command : {'\x00', '\x11', '\x20', '\x22', '\x31', '\xff'})
    expectNone(proxyHeader(kFields, command), "another version or command");
  for (const char family : {'\x01', '\x11', '\x21', '\x31', '\xff'})
    expectNone(proxyHeader(kFields, '\x21', family), "addresses");
}

TEST(ProxyHeader, FieldsHaveBounds) {
  expectNone(proxyHeader(std::string(513, '\0')), "too long");
  expectNone(proxyHeader(std::string(65535, '\0')), "too long");
  expectNone(proxyHeader("\xe0"), "cut off");
  expectNone(proxyHeader(std::string("\xe1\x00\x05\x00\x00\x00\x00", 7)),
             "cut off");
  expectNone(proxyHeader(proxyField(0xe1, "abc")), "another length");
  expectNone(proxyHeader(proxyField(0xe2, "abcde")), "another length");
  expectNone(proxyHeader(proxyField(0xe0, "")), "another length");
  expectNone(proxyHeader(proxyField(0xe0, std::string(16, 'a'))),
             "another length");
}

TEST(ProxyHeader, NoFieldComesTwice) {
  for (const std::string& field :
       {proxyField(0xe0, "edu0"), proxyNumber(0xe1, 0), proxyNumber(0xe2, 0)})
    expectNone(proxyHeader(field + field), "twice");
}

// Each byte of a good one, spoilt at random: a caller or a refusal, and never a
// byte beyond what the header announces.
TEST(ProxyHeader, ASpoiltOneIsReadInOrderOrRefused) {
  std::mt19937_64 random(test::announcedSeed());
  const std::string good = proxyHeader(kFields + proxyField(0xe9, "stuff"));
  for (int i = 0; i < 200'000; ++i) {
    std::string bytes = good;
    for (std::uint64_t n = 1 + random() % 3; n > 0; --n)
      bytes[12 + random() % (bytes.size() - 12)] = static_cast<char>(random());
    const std::size_t announced =
        16 + (static_cast<unsigned char>(bytes[14]) << 8 |
              static_cast<unsigned char>(bytes[15]));
    Stream stream(bytes + std::string(600, '\0'), 1 + random() % 64);
    try {
      const Caller caller = stream.readHeader();
      EXPECT_LE(caller.device.size(), 15u);
      EXPECT_EQ(stream.taken(), announced);
    } catch (const NoProxyHeader&) {
      EXPECT_LE(stream.taken(), announced);
    }
  }
}

TEST(Caller, IsWrittenWithWhatIsNotKnown) {
  EXPECT_EQ(kCaller.str(), "device=edu0 channel=3 uid=16909060");
  EXPECT_EQ(Caller().str(), "device=? channel=? uid=?");
}

Policy policy(const std::vector<std::string>& allowed,
              const std::vector<std::string>& denied = {}) {
  Policy made;
  for (const std::string& rule : allowed) made.allow(rule);
  for (const std::string& rule : denied) made.deny(rule);
  return made;
}

TEST(PolicyTest, WithoutRulesEverybodyIsServed) {
  EXPECT_TRUE(policy({}).isEmpty());
  EXPECT_EQ(policy({}).refusal({}), "");
  EXPECT_EQ(policy({}).refusal(kCaller), "");
}

TEST(PolicyTest, OneRuleOfAllowIsEnoughAndAllItsFactsAreNeeded) {
  const Policy some = policy({"uid=0", "device=edu1,channel=3,uid=1000"});
  EXPECT_EQ(some.refusal({"edu0", 1, 0}), "");
  EXPECT_EQ(some.refusal({"edu1", 3, 1000}), "");
  EXPECT_EQ(some.refusal({"edu1", 3, 1001}), "no --allow");
  EXPECT_EQ(some.refusal({"edu1", 4, 1000}), "no --allow");
  EXPECT_EQ(some.refusal({"edu2", 3, 1000}), "no --allow");
}

TEST(PolicyTest, OneRuleOfDenyIsEnough) {
  const Policy some = policy({}, {"uid=1000", "device=edu1"});
  EXPECT_EQ(some.refusal({"edu0", 1, 0}), "");
  EXPECT_EQ(some.refusal({"edu0", 1, 1000}), "--deny uid=1000");
  EXPECT_EQ(some.refusal({"edu1", 1, 0}), "--deny device=edu1");
}

TEST(PolicyTest, DenyGoesBeforeAllow) {
  const Policy some = policy({"device=edu0"}, {"uid=1000"});
  EXPECT_EQ(some.refusal({"edu0", 1, 0}), "");
  EXPECT_EQ(some.refusal({"edu0", 1, 1000}), "--deny uid=1000");
}

TEST(PolicyTest, WhatIsNotToldIsAgainstTheCaller) {
  EXPECT_EQ(policy({"uid=0"}).refusal({"edu0", 1, {}}), "no --allow");
  EXPECT_EQ(policy({}, {"uid=1000"}).refusal({"edu0", 1, {}}),
            "--deny uid=1000");
  EXPECT_EQ(policy({"channel=1"}).refusal({"edu0", 1, {}}), "");
  EXPECT_EQ(policy({}, {"channel=2"}).refusal({"edu0", 1, {}}), "");
}

TEST(PolicyTest, WhatIsNoRuleIsNamed) {
  for (const char* text :
       {"", "uid", "uid=", "uid=x", "uid=-1", "uid=1x", "uid=4294967296",
        "uid=1,uid=2", "uid=1,", ",uid=1", "uid=1,,channel=1", "user=1",
        "device=", "device=a b", "device=a-name-that-is-long", "channel=0x1",
        "channel=256"}) {
    try {
      policy({text});
      ADD_FAILURE() << "taken: " << text;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find("'" + std::string(text) + "'"),
                std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace lanecall
