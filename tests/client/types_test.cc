// SPDX-License-Identifier: Apache-2.0
//
// Every kind of value, every exception, every protocol and framing.
#include <thrift/TApplicationException.h>
#include <thrift/protocol/TMultiplexedProtocol.h>

#include <limits>

#include "fixture.h"
#include "random.h"

namespace lanecall::test {
namespace {

using apache::thrift::TApplicationException;

constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();

class TypesTest : public ClientTest {};
LANECALL_ON_EVERY_PATH(TypesTest);

TEST_P(TypesTest, PciEdusSequence) {
  auto client = connect();
  client->edu.ping();
  std::string answer;
  client->edu.echo(answer, "Hello, world!");
  EXPECT_EQ(answer, "Hello, world!");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client->edu.counter(), i);
}

TEST_P(TypesTest, StringsOfAnyBytes) {
  auto client = connect();
  for (const std::string& text :
       {std::string(), std::string("\0", 1), std::string("gr\xc3\xbc\xc3\x9f"),
        std::string("\xff\xfe\x00\x80", 4), std::string("line\nline")}) {
    std::string answer;
    client->edu.echo(answer, text);
    EXPECT_EQ(answer, text);
  }
}

TEST_P(TypesTest, SixtyFourBitNumbersAndTheirException) {
  auto client = connect();
  std::int64_t product = 1;
  for (int n = 0; n <= 20; ++n) {
    if (n > 0) product *= n;
    EXPECT_EQ(client->edu.factorial(n), product);
  }
  for (std::int32_t n : {-1, 21, kMin, kMax}) {
    try {
      client->edu.factorial(n);
      ADD_FAILURE() << n;
    } catch (const edu::OutOfRange& error) {
      EXPECT_EQ(error.value, n);
      EXPECT_EQ(error.lowest, 0);
      EXPECT_EQ(error.highest, 20);
    }
  }
  client->edu.ping();  // the connection outlives exceptions
}

TEST_P(TypesTest, ListsAndTheirException) {
  auto client = connect();
  std::vector<std::int32_t> answer;
  client->edu.scale(answer, {}, 3);
  EXPECT_TRUE(answer.empty());
  client->edu.scale(answer, {1, -1, 0, kMax, kMin}, 1);
  EXPECT_EQ(answer, (std::vector<std::int32_t>{1, -1, 0, kMax, kMin}));

  std::vector<std::int32_t> many(100'000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = 7 * int(i);
  client->edu.scale(answer, many, -3);
  ASSERT_EQ(answer.size(), many.size());
  for (std::size_t i = 0; i < many.size(); ++i)
    ASSERT_EQ(answer[i], -21 * int(i));

  try {
    client->edu.scale(answer, {1, 2, kMax, 4}, 2);
    FAIL();
  } catch (const edu::Overflow& error) {
    EXPECT_EQ(error.index, 2);
    EXPECT_EQ(error.value, kMax);
    EXPECT_EQ(error.factor, 2);
  }
}

TEST_P(TypesTest, OnewayCallsKeepTheirPlaceAmongOthers) {
  auto client = connect();
  for (int i = 0; i < 100; ++i) {
    client->edu.note("note " + std::to_string(i));
    if (i % 10 == 0) client->edu.ping();
  }
  EXPECT_EQ(client->edu.counter(), 0);
}

TEST_P(TypesTest, ServicesByNameAndByDefault) {
  auto client = connect();
  edu::EduClient named(
      std::make_shared<apache::thrift::protocol::TMultiplexedProtocol>(
          client->protocol, "Edu"));
  EXPECT_EQ(named.counter(), 0);
  EXPECT_EQ(client->edu.counter(), 1);
  virtine::Stats stats;
  client->virtine.stats(stats);
  EXPECT_EQ(stats.snapshots, 0);

  edu::EduClient unknown(
      std::make_shared<apache::thrift::protocol::TMultiplexedProtocol>(
          client->protocol, "Nobody"));
  EXPECT_THROW(unknown.ping(), TApplicationException);
}

TEST_P(TypesTest, EveryProtocolAndFraming) {
  for (Protocol protocol : {Protocol::kBinary, Protocol::kCompact}) {
    for (Framing framing : {Framing::kBuffered, Framing::kFramed}) {
      stopServer();
      startServer({"--protocol", name(protocol), "--framing", name(framing)});
      ClientOptions options = patience();
      options.protocol = protocol;
      options.framing = framing;
      auto client = connect(options);
      for (std::size_t size : {0, 1000, 65535, 65536, 3 << 20}) {
        std::string sent = Random(size).bytes(size);
        std::string answer;
        client->edu.reflect(answer, sent);
        EXPECT_TRUE(answer == sent)
            << name(protocol) << ", " << name(framing) << ", " << size;
      }
      EXPECT_THROW(client->edu.factorial(21), edu::OutOfRange);
      std::vector<std::int32_t> scaled;
      client->edu.scale(scaled, {1, kMin / 2}, 2);
      EXPECT_EQ(scaled, (std::vector<std::int32_t>{2, kMin}));
    }
  }
}

}  // namespace
}  // namespace lanecall::test
