// SPDX-License-Identifier: Apache-2.0
//
// lanecall-server: all services of the project in one program. They know
// nothing of how their clients reach them.
#include <lanecall/serve.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "call_log.h"
#include "edu_handler.h"
#include "virtine_cleanup/virtine_handler.h"

namespace {

using namespace lanecall;

template <typename Processor, typename Handler>
std::shared_ptr<apache::thrift::TProcessor> processorOf(
    std::shared_ptr<Handler> handler) {
  return std::make_shared<Processor>(std::move(handler));
}

// Why this is no number of a limit; empty if it is one. (CLI11 itself takes the
// greatest there is for a number that is greater.)
std::string whyNoLimit(const std::string& text) {
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc() && at == end && number > 0) return {};
  return "'" + text + "' is no number from 1 to " +
         std::to_string(std::numeric_limits<std::int64_t>::max());
}

std::vector<Service> services(const VirtineLimits& limits) {
  auto count = std::make_shared<EduHandler::Count>();
  auto store = std::make_shared<VirtineStore>(limits);
  return {{"Edu",
           [count](const auto& connection) {
             return processorOf<edu::EduProcessor>(std::make_shared<EduHandler>(
                 cardDeviceOf(connection.transport), count));
           }},
          {"VirtineCleanup", [store](const auto& connection) {
             return processorOf<virtine::VirtineCleanupProcessor>(
                 std::make_shared<VirtineHandler>(
                     store, cardDeviceOf(connection.transport)));
           }}};
}

}  // namespace

int main(int argc, char** argv) {
  VirtineLimits limits;
  ServerProgram program;
  program.description =
      "Serves Edu (also to clients that name no service) and VirtineCleanup.\n"
      "Standard output has a line for each call, standard error the log.";
  program.addOptions = [&](CLI::App& app) {
    app.set_version_flag("--version",
                         "lanecall-server " LANECALL_PROJECT_VERSION);
    app.add_flag_callback(
        "--no-call-log", [] { setCallLog(false); },
        "Leave out the line for each call on standard output");
    auto limit = [&](const char* option, std::int64_t& value,
                     const char* text) {
      app.add_option(option, value, text)
          ->check(CLI::Validator(whyNoLimit, "COUNT"))
          ->capture_default_str();
    };
    limit("--max-snapshot-bytes", limits.snapshotBytes,
          "Bytes of all virtine snapshots together");
    limit("--max-snapshots", limits.snapshots, "Virtine snapshots");
    limit("--max-attachments", limits.attachments,
          "Virtines attached, of all connections together");
    limit("--max-attachments-each", limits.attachmentsEach,
          "Virtines attached by one connection");
    limit("--max-memory-bytes", limits.regionBytes,
          "Bytes of one virtine's memory, by reference");
    limit("--max-tickets", limits.tickets,
          "Virtine cleans of one connection, not reaped");
  };
  program.makeServices = [&](const ServerOptions& options) {
    // Memory comes and goes in messages: more could not be cleaned.
    limits.memoryBytes = limits.answerBytes = options.limits.messageBytes;
    return services(limits);
  };
  program.onReady = [] { logCall("Starting the server..."); };
  program.sandbox = true;
  return serve(argc, argv, program);
}
