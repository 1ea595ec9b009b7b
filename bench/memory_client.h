// SPDX-License-Identifier: Apache-2.0
//
// A client whose server is in the same thread, with plain memory in between:
// what is left of a call when nothing has to be carried.
#ifndef LANECALL_BENCH_MEMORY_CLIENT_H
#define LANECALL_BENCH_MEMORY_CLIENT_H

#include <edu/Edu.h>
#include <lanecall/limits.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include <memory>
#include <string>

#include "unbudgeted.h"

namespace lanecall::bench {

class MemoryClient {
 public:
  explicit MemoryClient(const Limits& limits)
      : requests_(makeProtocol(limits)),
        answers_(makeProtocol(limits)),
        client_(answers_, requests_),
        processor_(std::make_shared<Handler>()) {}

  void ping() {
    send_ping();
    awaitAnswer();
    recv_ping();
  }

  void send_ping() { client_.send_ping(); }
  void awaitAnswer() { processor_.process(requests_, answers_, nullptr); }
  void recv_ping() { client_.recv_ping(); }

  void reflect(std::string& answer, const std::string& bytes) {
    client_.send_reflect(bytes);
    awaitAnswer();
    client_.recv_reflect(answer);
  }

 private:
  using Memory = Unbudgeted<apache::thrift::transport::TMemoryBuffer>;
  using Protocol = apache::thrift::protocol::TBinaryProtocolT<Memory>;

  // What the server's does, but for its log.
  class Handler : public edu::EduNull {
   public:
    void reflect(std::string& answer, const std::string& bytes) override {
      answer = bytes;
    }
  };

  static std::shared_ptr<Protocol> makeProtocol(const Limits& limits) {
    return std::make_shared<Protocol>(
        std::make_shared<Memory>(limits.configuration()), limits.stringBytes,
        limits.containerItems, true, true);
  }

  const std::shared_ptr<Protocol> requests_;
  const std::shared_ptr<Protocol> answers_;
  edu::EduClientT<Protocol> client_;
  edu::EduProcessorT<Protocol> processor_;
};

}  // namespace lanecall::bench

#endif
