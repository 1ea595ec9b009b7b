// SPDX-License-Identifier: Apache-2.0
//
// ledger-server: serves Ledger and writes down each call that it begins and
// ends.
#include <lanecall/serve.h>
#include <ledger/Ledger.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <thread>

#include "answers.h"
#include "book.h"

namespace {

using namespace lanecall;
using namespace lanecall::ledger;

constexpr std::int32_t kMostAnswerBytes = 8 << 20;
constexpr std::int32_t kMostStallUs = 1'000'000;
constexpr std::size_t kEntriesAtOnce = 16384;

// For all connections.
class Handler : public LedgerIf {
 public:
  explicit Handler(const std::string& path) : book_(path) {}

  void run(std::string& answer, const Order& order) override {
    note(What::kBegan, order, order.data);
    if (order.answerBytes < 0 || order.answerBytes > kMostAnswerBytes ||
        order.stallUs < 0 || order.stallUs > kMostStallUs)
      refuse("no such answer, or no such wait");
    if (order.stallUs > 0)
      std::this_thread::sleep_for(std::chrono::microseconds(order.stallUs));
    answer = answerTo(order.data, static_cast<std::size_t>(order.answerBytes));
    note(What::kEnded, order, answer);
  }

  void entries(std::string& raw, const std::int64_t from) override {
    if (from < 0) refuse("entries count from 0");
    const auto entries =
        book_.read(static_cast<std::uint64_t>(from), kEntriesAtOnce);
    raw.assign(reinterpret_cast<const char*>(entries.data()),
               entries.size() * sizeof(Entry));
  }

  std::int64_t turn() override { return turns_++; }

  std::int64_t memory() override {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      std::int64_t kilobytes = 0;
      if (word == "VmRSS:" && status >> kilobytes) return kilobytes << 10;
    }
    refuse("/proc/self/status has no VmRSS");
  }

 private:
  [[noreturn]] static void refuse(const std::string& reason) {
    Refused refused;
    refused.reason = reason;
    throw refused;
  }

  void note(What what, const Order& order, const std::string& bytes) const {
    book_.add({what, 0, static_cast<std::uint64_t>(order.channel),
               static_cast<std::uint64_t>(order.number), digestOf(bytes)});
  }

  const Book book_;
  std::atomic<std::int64_t> turns_{0};
};

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  ServerProgram program;
  program.description = "Serves calls that are counted afterwards.";
  program.addOptions = [&](CLI::App& app) {
    app.add_option("--ledger", path, "The file to write calls down in")
        ->required();
  };
  program.makeServices = [&](const ServerOptions&) {
    auto processor =
        std::make_shared<LedgerProcessor>(std::make_shared<Handler>(path));
    return std::vector<Service>{
        {"Ledger", [processor](const auto&) { return processor; }}};
  };
  return serve(argc, argv, program);
}
