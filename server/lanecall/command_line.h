// SPDX-License-Identifier: Apache-2.0
//
// The options that every server program takes (serve.h). Internal to the server
// library.
#ifndef LANECALL_COMMAND_LINE_H
#define LANECALL_COMMAND_LINE_H

#include <lanecall/server.h>

#include <string>

namespace CLI {
class App;
}

namespace lanecall {

struct CommandLine {
  ServerOptions server;
  int maxString = 0;  // 0: not given
  int readyFd = -1;
  std::string logLevel = "info";
  std::string user;  // empty: stay who we are
  bool sandbox = false;
};

// line, whose values are the defaults, has to outlive app. Parsing throws what
// CLI11 does, or std::invalid_argument.
void addServerOptions(CLI::App& app, CommandLine& line);

// Once app has parsed: what was not given is filled in. Throws
// std::invalid_argument, one line, for addresses that are none, and for options
// that could do nothing, or something else than meant, next to the others.
void finishCommandLine(const CLI::App& app, CommandLine& line);

}  // namespace lanecall

#endif
