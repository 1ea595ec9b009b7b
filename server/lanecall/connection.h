// SPDX-License-Identifier: Apache-2.0
//
// One client of a server, and the thread's loop that serves it. Internal to
// the server library.
#ifndef LANECALL_CONNECTION_H
#define LANECALL_CONNECTION_H

#include <lanecall/accepted_transport.h>
#include <lanecall/connection_log.h>
#include <lanecall/server.h>

#include <cstdint>
#include <mutex>
#include <string>

namespace lanecall {

class Connection {
 public:
  // at: the address of the listener that accepted it.
  Connection(std::unique_ptr<ChannelIo> io, const ServerOptions& options,
             std::shared_ptr<spdlog::logger> log, const std::string& at);

  // Unique in the process.
  std::uint64_t id() const { return log_.id(); }

  // Serves calls until the client leaves, breaks a limit, or stop().
  void run(const ProcessorMaker& maker);

  // Ends the connection once the call that runs, if any, is answered.
  void stop();

  // Ends it now: whatever it waits for fails.
  void cut() { raw_->interrupt(); }

 private:
  std::string serveCalls(const ProcessorMaker& maker);
  const char* serveAllowed(const ProcessorMaker& maker);
  bool readCaller();
  bool awaitFirstCall();
  bool await(apache::thrift::transport::TTransport& from, int timeoutMs);

  const ServerOptions& options_;
  const std::shared_ptr<spdlog::logger> serverLog_;
  const ConnectionLog log_;
  std::shared_ptr<AcceptedTransport> raw_;
  std::shared_ptr<apache::thrift::transport::TTransport> stack_;

  // Guards the two below: stop() must not cut a call that has begun.
  std::mutex mutex_;
  bool stopping_ = false;
  bool idle_ = false;
};

}  // namespace lanecall

#endif
