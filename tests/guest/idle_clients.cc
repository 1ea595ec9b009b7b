// SPDX-License-Identifier: Apache-2.0
//
// idle_clients COUNT URI SECONDS: connects so many clients, has each make one
// call, and leaves them alone for that time, which it begins and ends with a
// line on standard output: "idle begins" or "idle ends", and how many KiB of
// the machine's memory are free.
#include <edu/Edu.h>
#include <lanecall/open.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

// For what a first call set going to come to rest.
constexpr auto kSettle = std::chrono::seconds(1);

long freeKib() {
  std::ifstream memory("/proc/meminfo");
  std::string word;
  long kib = 0;
  while (memory >> word && word != "MemFree:") {
  }
  memory >> kib;
  return kib;
}

void say(const char* what) {
  std::printf("idle %s %ld\n", what, freeKib());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 4) {
    std::fprintf(stderr, "usage: idle_clients COUNT URI SECONDS\n");
    return 2;
  }
  std::vector<lanecall::TransportPtr> open;
  for (int i = 0; i < std::atoi(argv[1]); ++i) {
    open.push_back(lanecall::openTransport(argv[2]));
    lanecall::edu::EduClient(lanecall::protocolOn(open.back())).ping();
  }
  std::this_thread::sleep_for(kSettle);
  say("begins");
  std::this_thread::sleep_for(std::chrono::seconds(std::atoi(argv[3])));
  say("ends");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "idle_clients: %s\n", error.what());
  return 1;
}
