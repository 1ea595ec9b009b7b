// SPDX-License-Identifier: Apache-2.0
#include "path.h"

#include <lanecall/uri.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "settings.h"

namespace lanecall::test {
namespace {

std::unique_ptr<Harness> serversHere(const std::string& spec) {
  if (settings().server.empty())
    throw std::runtime_error("--path " + spec +
                             " starts servers here: give --server PROGRAM");
  return localHarness(settings().server);
}

class TcpPath : public Path {
 public:
  TcpPath() {
    if (settings().control.empty()) {
      harness_ = serversHere("tcp");
    } else {
      harness_ = remoteHarness(settings().control, nullptr);
      host_ = parseUri(settings().control).host;
    }
  }
  Harness& harness() override { return *harness_; }
  std::string listen() override { return "tcp:127.0.0.1:0"; }
  std::string clientUri(const std::string& bound) override {
    Uri uri = parseUri(bound);
    if (!host_.empty()) uri.host = host_;
    return uri.str();
  }

 private:
  std::unique_ptr<Harness> harness_;
  std::string host_;  // that the servers' machine has for us
};

class UnixPath : public Path {
 public:
  UnixPath() : harness_(serversHere("unix")) {
    std::string pattern =
        std::filesystem::temp_directory_path() / "lanecall-test-XXXXXX";
    if (!::mkdtemp(pattern.data()))
      throw std::runtime_error("no folder like " + pattern);
    folder_ = pattern;
  }
  ~UnixPath() override {
    harness_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Harness& harness() override { return *harness_; }
  std::string listen() override { return "unix:" + folder_ + "/server"; }
  std::string clientUri(const std::string& bound) override { return bound; }

 private:
  std::unique_ptr<Harness> harness_;
  std::string folder_;
};

class PciePath : public Path {
 public:
  explicit PciePath(const std::string& spec) : spec_(spec) {
    if (settings().control.empty())
      throw std::runtime_error("--path " + spec +
                               " needs --control: the harness on the host");
    harness_ = remoteHarness(settings().control, &listen_);
  }
  Harness& harness() override { return *harness_; }
  std::string listen() override { return listen_; }
  std::string clientUri(const std::string&) override { return spec_; }

 private:
  std::string spec_;
  std::string listen_;
  std::unique_ptr<Harness> harness_;
};

}  // namespace

std::unique_ptr<Path> Path::make(const std::string& spec) {
  if (spec == "tcp") return std::make_unique<TcpPath>();
  if (spec == "unix") return std::make_unique<UnixPath>();
  if (spec.starts_with("pcie:")) return std::make_unique<PciePath>(spec);
  throw std::runtime_error("--path " + spec +
                           ": use tcp, unix or pcie:/dev/lanecallN");
}

std::string shortName(const std::string& spec) {
  return spec.substr(0, spec.find(':'));
}

}  // namespace lanecall::test
