// SPDX-License-Identifier: Apache-2.0
//
// lanecall-harness: serves HarnessControl, for tests that run in a guest and
// need servers on the host. Takes what every server takes (--listen,
// --ready-fd), and
//   --server PROGRAM   the lanecall-server to start
//   --device ADDRESS   where a device of the guest connects to; once for each,
//                      in the order of the nodes
#include <harness/HarnessControl.h>
#include <lanecall/serve.h>

#include <CLI/CLI.hpp>

#include "harness.h"

namespace {

using namespace lanecall;
using namespace lanecall::test;

[[noreturn]] void fail(const std::string& reason) {
  HarnessFailure failure;
  failure.reason = reason;
  throw failure;
}

// One for each connection. Its servers are children of the connection's
// thread, and end with it.
class Handler : public HarnessControlIf {
 public:
  Handler(const std::string& program, std::vector<std::string> devices)
      : harness_(localHarness(program)), devices_(std::move(devices)) {}

  void deviceAddress(std::string& result, const std::int32_t device) override {
    if (device < 0 || static_cast<std::size_t>(device) >= devices_.size())
      fail("there is no device " + std::to_string(device));
    result = devices_[device];
  }
  void start(RunningServer& result, const std::vector<std::string>& listen,
             const std::vector<std::string>& arguments) override {
    guarded([&] {
      auto server = harness_->start(listen, arguments);
      result.id = server.id;
      result.addresses = server.addresses;
    });
  }
  std::int32_t stop(const std::int32_t id) override {
    int status = 0;
    guarded([&] { status = harness_->stop(id); });
    return status;
  }
  void kill(const std::int32_t id) override {
    guarded([&] { harness_->kill(id); });
  }
  void pause(const std::int32_t id) override {
    guarded([&] { harness_->pause(id); });
  }
  void resume(const std::int32_t id) override {
    guarded([&] { harness_->resume(id); });
  }

 private:
  template <typename F>
  void guarded(F f) try {
    f();
  } catch (const std::exception& error) {
    fail(error.what());
  }

  std::unique_ptr<Harness> harness_;
  std::vector<std::string> devices_;
};

}  // namespace

int main(int argc, char** argv) {
  std::string server;
  std::vector<std::string> devices;
  ServerProgram program;
  program.description = "Starts and stops servers for tests in a guest.";
  program.addOptions = [&](CLI::App& app) {
    app.add_option("--server", server, "The lanecall-server to start")
        ->required();
    app.add_option("--device", devices, "Where a device connects to");
  };
  program.makeServices = [&](const ServerOptions&) {
    return std::vector<Service>{
        {"HarnessControl", [&](const auto&) {
           return std::make_shared<HarnessControlProcessor>(
               std::make_shared<Handler>(server, devices));
         }}};
  };
  return serve(argc, argv, program);
}
