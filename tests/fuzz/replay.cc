// SPDX-License-Identifier: Apache-2.0
//
// fuzz_replay TARGET FILE-OR-FOLDER...: plays cases that a fuzzer has found,
// without one. A case that fails ends the program; the last name printed is it.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "choices.h"
#include "targets.h"

namespace {

using namespace lanecall;
namespace fs = std::filesystem;

using Target = void (*)(const std::uint8_t*, std::size_t);

const std::map<std::string, Target> kTargets = {{"ring", fuzz::ring},
                                                {"ringPair", fuzz::ringPair},
                                                {"places", fuzz::places},
                                                {"transport", fuzz::transport}};

std::vector<fs::path> casesOf(const fs::path& place) {
  if (!fs::is_directory(place)) return {place};
  std::vector<fs::path> cases;
  for (const auto& entry : fs::directory_iterator(place))
    cases.push_back(entry.path());
  return cases;
}

void play(Target target, const fs::path& file) {
  std::printf("%s\n", file.c_str());
  std::fflush(stdout);
  std::ifstream in(file, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw std::runtime_error(file.string() + " cannot be read");
  target(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3 || !kTargets.contains(argv[1])) {
    std::fprintf(stderr, "usage: fuzz_replay TARGET FILE-OR-FOLDER...\n");
    return 2;
  }
  int played = 0;
  for (int i = 2; i < argc; ++i)
    for (const fs::path& file : casesOf(argv[i])) {
      play(kTargets.at(argv[1]), file);
      ++played;
    }
  if (played > 0) return 0;
  std::fprintf(stderr, "fuzz_replay: no case there; give files or folders\n");
  return 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "fuzz_replay: %s\n", error.what());
  return 1;
}
