// SPDX-License-Identifier: Apache-2.0
//
// A whole server program in one call: options, log, signals, and the server.
// The caller brings handlers only.
//
//   int main(int argc, char** argv) {
//     return lanecall::serve(
//         argc, argv, "Greeter",
//         std::make_shared<GreeterProcessor>(std::make_shared<Greeter>()));
//   }
//
// The program it makes takes --listen (any number of tcp:host:port and
// unix:/path), --card (any number of unix:/path where devices attach, alongside
// or instead), who may connect and be served, --protocol, --framing, the limits
// and timeouts, --ready-fd, --log-level, --user, --sandbox; see its --help. It
// serves until SIGTERM or SIGINT. Its log, a line per event with key=value
// fields, goes to standard error.
#ifndef LANECALL_SERVE_H
#define LANECALL_SERVE_H

#include <lanecall/server.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lanecall {

// A service by the name of its IDL.
struct Service {
  std::string name;
  ProcessorMaker make;
};

struct ServerProgram {
  std::string description;
  // More options of the program's own.
  std::function<void(CLI::App&)> addOptions;
  // Called once, after options were read and before anything is served. The
  // first service also serves clients that name none; all serve by name
  // (Thrift's TMultiplexedProtocol).
  std::function<std::vector<Service>(const ServerOptions&)> makeServices;
  // Called when clients may connect.
  std::function<void()> onReady;
  // Whether --sandbox is the default: for handlers that open no files and make
  // no connections (sandbox.h). Then makeServices is called without privileges,
  // and can write to no file, but it can read them; onReady can open none.
  bool sandbox = false;
};

// Returns the program's exit status: 0 after an orderly stop, 2 for a wrong
// command line, 1 for any other failure. Does not throw.
int serve(int argc, char** argv, const ServerProgram& program);

// One service, whose handler all connections share.
int serve(int argc, char** argv, const std::string& name,
          std::shared_ptr<apache::thrift::TProcessor> processor);

}  // namespace lanecall

#endif
