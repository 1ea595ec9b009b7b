// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include <cerrno>
#include <csignal>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "harness.h"
#include "process.h"

namespace lanecall::test {
namespace {

// Before an address that a device's card port connects to.
constexpr std::string_view kCard = "card:";

// All lines until the other end is closed by everyone who holds it.
std::vector<std::string> readLines(const Descriptor& from) {
  std::string text;
  char part[512];
  for (;;) {
    ssize_t got = ::read(from.get(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(part, got);
  }
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class LocalHarness : public Harness {
 public:
  explicit LocalHarness(std::string program) : program_(std::move(program)) {}

  Server start(const std::vector<std::string>& listen,
               const std::vector<std::string>& arguments) override {
    std::vector<std::string> command = {program_, "--ready-fd", "3"};
    for (const std::string& address : listen) {
      const bool card = address.starts_with(kCard);
      command.push_back(card ? "--card" : "--listen");
      command.push_back(card ? address.substr(kCard.size()) : address);
    }
    command.insert(command.end(), arguments.begin(), arguments.end());
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0)
      throw std::system_error(errno, std::generic_category(), "pipe");
    Descriptor ready(ends[0]);
    Descriptor tell(ends[1]);
    auto process = std::make_unique<Process>(command, tell);
    tell.reset();
    std::vector<std::string> addresses = readLines(ready);
    if (addresses.size() != listen.size())
      throw std::runtime_error(program_ + " did not start");
    for (std::size_t i = 0; i < listen.size(); ++i)
      if (listen[i].starts_with(kCard)) addresses[i] = listen[i];
    running_.emplace(++lastId_, std::move(process));
    return {lastId_, std::move(addresses)};
  }

  int stop(int id) override {
    Process& process = find(id);
    process.signal(SIGTERM);
    int status = process.wait();
    running_.erase(id);
    return status;
  }

  // One that has ended before did so by a fault of its own.
  void kill(int id) override {
    Process& process = find(id);
    process.signal(SIGKILL);
    const int status = process.wait();
    running_.erase(id);
    if (status != 128 + SIGKILL)
      throw std::runtime_error(
          "the server ended before it was killed, status " +
          std::to_string(status));
  }

  void pause(int id) override { find(id).pause(); }
  void resume(int id) override { find(id).signal(SIGCONT); }

 private:
  Process& find(int id) {
    auto found = running_.find(id);
    if (found == running_.end())
      throw std::invalid_argument("no server " + std::to_string(id));
    return *found->second;
  }

  std::string program_;
  std::map<int, std::unique_ptr<Process>> running_;
  int lastId_ = 0;
};

}  // namespace

std::unique_ptr<Harness> localHarness(const std::string& program) {
  return std::make_unique<LocalHarness>(program);
}

}  // namespace lanecall::test
