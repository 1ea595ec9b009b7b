// SPDX-License-Identifier: Apache-2.0
//
// One client of a server, and the thread's loop that serves it. Internal to
// the server library.
#ifndef LANECALL_CONNECTION_H
#define LANECALL_CONNECTION_H

#include <lanecall/server.h>
#include <lanecall/stream_transport.h>

#include <cstdint>
#include <mutex>

namespace lanecall {

class Connection {
 public:
  Connection(std::uint64_t id, std::unique_ptr<ChannelIo> io,
             const ServerOptions& options, std::shared_ptr<spdlog::logger> log);

  // Serves calls until the client leaves, breaks a limit, or stop().
  void run(const ProcessorMaker& maker);

  // Ends the connection once the call that runs, if any, is answered.
  void stop();

  // Ends it now: whatever it waits for fails.
  void cut() { raw_->interrupt(); }

 private:
  std::string serveCalls(const ProcessorMaker& maker);
  bool awaitCall();

  const std::uint64_t id_;
  const ServerOptions& options_;
  std::shared_ptr<spdlog::logger> log_;
  std::shared_ptr<StreamTransport> raw_;
  std::shared_ptr<apache::thrift::transport::TTransport> stack_;

  // Guards the two below: stop() must not cut a call that has begun.
  std::mutex mutex_;
  bool stopping_ = false;
  bool idle_ = false;
};

}  // namespace lanecall

#endif
