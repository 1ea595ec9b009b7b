// SPDX-License-Identifier: Apache-2.0
//
// A Thrift server that holds its own against its clients: any number of
// listeners, a thread for each connection, and a bound on everything a client
// could stretch.
//
// - Connections: at most maxConnections; one more is closed at once.
// - Time: a connection may be idle for idleTimeoutMs; a message, once begun,
//   must be complete within messageTimeoutMs, and an answer must be taken
//   within sendTimeoutMs, however the bytes trickle.
// - Memory: the limits (limits.h), for each message.
// - Stopping: stop() ends listening and idle connections at once; calls that
//   run are finished and answered, for at most stopTimeoutMs, then cut.
#ifndef LANECALL_SERVER_H
#define LANECALL_SERVER_H

#include <lanecall/buffered.h>
#include <lanecall/denials.h>
#include <lanecall/limits.h>
#include <lanecall/listener.h>
#include <lanecall/policy.h>
#include <lanecall/spin.h>
#include <lanecall/wake.h>
#include <spdlog/logger.h>
#include <thrift/TProcessor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lanecall {

struct ServerOptions {
  std::vector<std::string> listen;
  // A polling server's (polling_server.h): where devices attach, unix:/path;
  // how many short calls run at the same time; how it waits between calls; how
  // much of card memory is for buffers of DMA (card_device.h), in percent.
  std::vector<std::string> card;
  int cardThreads = 1;
  int cardBuffers = 50;
  Spin spin = Spin::adaptive();
  Protocol protocol = Protocol::kBinary;
  Framing framing = Framing::kBuffered;
  Limits limits;
  int maxConnections = 256;
  SocketAccess access = {};  // of Unix sockets, where devices attach, too
  // Whose channels are served; anybody's without rules. Where devices attach
  // they tell who opens a channel; on sockets only with proxy: then every
  // connection begins with the PROXY header of a device with proxy=on, and one
  // that does not is closed.
  bool proxy = false;
  Policy policy = {};
  // Milliseconds, 0 for no limit.
  int idleTimeoutMs = 600'000;
  int messageTimeoutMs = 60'000;
  int sendTimeoutMs = 60'000;
  int stopTimeoutMs = 5'000;
};

// Makes a processor for a new connection, destroyed when the connection ends:
// state of a connection lives in its handler. May take long, as any call, and
// throw, which ends the connection. A shared processor may be returned every
// time. The connection's transport says how the client came (card_device.h); a
// handler that kept it would keep the connection from ending.
using ProcessorMaker =
    std::function<std::shared_ptr<apache::thrift::TProcessor>(
        const apache::thrift::TConnectionInfo& connection)>;

class Server {
 public:
  // Binds all addresses. Throws std::invalid_argument or std::runtime_error,
  // one line each.
  Server(ServerOptions options, ProcessorMaker maker,
         std::shared_ptr<spdlog::logger> log);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Where it listens, real ports included; clients may connect from now on.
  std::vector<std::string> addresses() const;

  // Serves until stop(). False if a handler was still running when the stop
  // timeout had passed; its thread goes on, so that the process should exit.
  bool serve();

  // From any thread or a signal handler.
  void stop();

 private:
  class Connections;

  void acceptFrom(Listener& listener);

  const ServerOptions options_;
  std::shared_ptr<spdlog::logger> log_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  Wake stop_;
  // Shared with the connections' threads, which may outlive serve().
  std::shared_ptr<Connections> connections_;
  bool outOfResources_ = false;
  Denials denied_;
};

}  // namespace lanecall

#endif
