// SPDX-License-Identifier: Apache-2.0
//
// A client that calls as it should, and looks at what it is answered.
#ifndef LANECALL_TESTS_HOSTILE_GOOD_CLIENT_H
#define LANECALL_TESTS_HOSTILE_GOOD_CLIENT_H

#include <edu/Edu.h>
#include <lanecall/open.h>
#include <random.h>

#include <stdexcept>
#include <string>

namespace lanecall::test {

class GoodClient {
 public:
  // transport: open.
  GoodClient(const TransportPtr& transport, const ClientOptions& options)
      : edu_(protocolOn(transport, options)) {}

  // Throws if an answer is wrong or does not come.
  void call(Random& random) {
    const std::string sent = random.bytes(random.below(3000));
    std::string answer;
    edu_.reflect(answer, sent);
    if (answer != sent) throw std::runtime_error("another answer than due");
    if (edu_.factorial(10) != 3'628'800)
      throw std::runtime_error("a wrong factorial");
  }

 private:
  edu::EduClient edu_;
};

}  // namespace lanecall::test

#endif
