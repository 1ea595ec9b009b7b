// SPDX-License-Identifier: Apache-2.0
//
// ledger-check CLIENTS SERVERS: compares two ledgers that are files.
#include <cstdio>
#include <exception>
#include <vector>

#include "book.h"
#include "checker.h"

namespace {

using namespace lanecall::ledger;

std::vector<Entry> readAll(const char* path) {
  const Book book(path);
  std::vector<Entry> all;
  for (std::vector<Entry> some;
       !(some = book.read(all.size(), 1 << 14)).empty();)
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::fprintf(stderr, "usage: ledger-check CLIENTS SERVERS\n");
    return 2;
  }
  const Verdict verdict = check(readAll(argv[1]), readAll(argv[2]));
  for (const std::string& fault : verdict.faults)
    std::printf("%s\n", fault.c_str());
  std::printf("%s\n", verdict.text().c_str());
  return verdict.faultCount == 0 && verdict.ok > 0 ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "ledger-check: %s\n", error.what());
  return 1;
}
