// SPDX-License-Identifier: Apache-2.0
#include <harness/HarnessControl.h>
#include <lanecall/open.h>

#include <stdexcept>

#include "harness.h"
#include "patience.h"

namespace lanecall::test {
namespace {

class RemoteHarness : public Harness {
 public:
  RemoteHarness(const std::string& control, std::string* deviceAddress)
      : client_(protocolOn(openTransport(control, patient()), patient())) {
    if (deviceAddress) call([&] { client_.deviceAddress(*deviceAddress, 0); });
  }

  Server start(const std::vector<std::string>& listen,
               const std::vector<std::string>& arguments) override {
    RunningServer server;
    call([&] { client_.start(server, listen, arguments); });
    return {server.id, server.addresses};
  }
  int stop(int id) override {
    int status = 0;
    call([&] { status = client_.stop(id); });
    return status;
  }
  void kill(int id) override {
    call([&] { client_.kill(id); });
  }
  void pause(int id) override {
    call([&] { client_.pause(id); });
  }
  void resume(int id) override {
    call([&] { client_.resume(id); });
  }

 private:
  template <typename F>
  void call(F f) try {
    f();
  } catch (const HarnessFailure& failure) {
    throw std::runtime_error("harness: " + failure.reason);
  }

  HarnessControlClient client_;
};

}  // namespace

std::unique_ptr<Harness> remoteHarness(const std::string& control,
                                       std::string* deviceAddress) {
  return std::make_unique<RemoteHarness>(control, deviceAddress);
}

}  // namespace lanecall::test
