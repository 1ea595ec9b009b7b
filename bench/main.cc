// SPDX-License-Identifier: Apache-2.0
//
// lanecall-bench: measures calls over the channels named on its command line,
// in slices that another program commands (control.h). It runs in the guest and
// on the host alike; what is measured when, and what becomes of the numbers, is
// decided elsewhere.
#include <malloc.h>
#include <thrift/Thrift.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <limits>

#include "channel.h"
#include "control.h"
#include "lines.h"

namespace {

using namespace lanecall::bench;

struct CommandLine {
  std::vector<Channel> channels;
  std::string control;
};

void addOptions(CLI::App& app, CommandLine& line) {
  app.add_option_function<std::vector<std::string>>(
         "--channel",
         [&line](const std::vector<std::string>& texts) {
           for (const std::string& text : texts)
             line.channels.push_back(parseChannel(text));
         },
         "NAME=KIND:ADDRESS[,option=value...], any number. Kinds: pcie "
         "(mode=, spin=, ring=), tcp, unix, serial (ports=), memory; all but "
         "memory take framing=, and tcp, unix and serial buffer=")
      ->required()
      ->take_all();
  app.add_option("--control", line.control,
                 "Device that commands come from and answers go to [standard "
                 "input and output]");
}

int misused(const char* what) {
  std::fprintf(stderr, "lanecall-bench: %s; see lanecall-bench --help\n", what);
  return 2;
}

// By default a string of 128 KiB or more is mapped and unmapped for each call,
// and what a slice gave back goes to the system: that would be measured, not
// the channel.
void keepMemory() {
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

}  // namespace

int main(int argc, char** argv) try {
  keepMemory();
  ::signal(SIGPIPE, SIG_IGN);
  // A connection that fails is an answer, once; Thrift would print it as well.
  apache::thrift::GlobalOutput.setOutputFunction([](const char*) {});
  CLI::App app(
      "Measures calls over channels, in slices that are commanded as JSON, a "
      "line each.");
  CommandLine line;
  addOptions(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return misused(error.what());
  } catch (const std::invalid_argument& error) {
    return misused(error.what());
  }
  Lines lines = line.control.empty() ? Lines() : Lines(line.control);
  obey(lines, line.channels);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "lanecall-bench: %s\n", error.what());
  return 1;
}
