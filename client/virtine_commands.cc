// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "commands.h"
#include "random.h"
#include "virtine_shell.h"

namespace lanecall {
namespace {

using virtine::Extent;

std::vector<std::uint8_t> readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    throw std::runtime_error(path + ": cannot be read; name a readable file");
  std::vector<std::uint8_t> bytes{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) throw std::runtime_error(path + ": cannot be read as a file");
  if (bytes.empty())
    throw std::runtime_error(path + ": is empty; name a file with bytes");
  return bytes;
}

// A virtine's memory reaches beyond its image.
std::size_t memoryBytesFor(std::size_t imageBytes) {
  return imageBytes + std::max<std::size_t>(imageBytes / 4, 4096);
}

// Extents that share no byte, some across the image's end, in random order,
// each filled with what a function could have left there.
std::vector<Extent> dirtySome(std::span<std::uint8_t> memory,
                              std::size_t imageBytes, Random& random) {
  std::vector<Extent> extents;
  std::size_t at = 0;
  auto add = [&](std::size_t from, std::size_t to) {
    if (from >= to) return;
    random.fill(memory.subspan(from, to - from));
    Extent extent;
    extent.offset = static_cast<std::int64_t>(from);
    extent.length = static_cast<std::int64_t>(to - from);
    extents.push_back(extent);
  };
  const std::size_t stride = std::max<std::size_t>(memory.size() / 32, 2);
  const std::size_t border = imageBytes - imageBytes / 100;
  while (at < border) {
    std::size_t from = at + random.below(stride);
    std::size_t to = from + 1 + random.below(stride);
    if (to > border) break;
    add(from, to);
    at = to;
  }
  add(std::max(at, border), memory.size() - random.below(100));
  for (std::size_t i = extents.size(); i > 1; --i)
    std::swap(extents[i - 1], extents[random.below(i)]);
  return extents;
}

void expectClean(std::span<const std::uint8_t> memory,
                 std::span<const std::uint8_t> image, const char* how) {
  for (std::size_t i = 0; i < memory.size(); ++i) {
    const int wanted = i < image.size() ? image[i] : 0;
    if (memory[i] == wanted) continue;
    throw std::runtime_error(
        std::string("cleaned ") + how + ", but byte " + std::to_string(i) +
        " is " + std::to_string(memory[i]) + ", not " + std::to_string(wanted));
  }
}

// The snapshot goes the way that memory goes.
virtine::Snapshot registerImage(virtine::VirtineCleanupIf& client,
                                std::span<const std::uint8_t> image,
                                const std::shared_ptr<Lender>& lender) {
  virtine::Snapshot snapshot;
  if (lender) {
    const Region region(lender, image.data(), image.size());
    region.syncForDevice(0, region.bytes());
    client.registerSnapshot(snapshot, memoryOf(region), /*keep=*/false);
    return snapshot;
  }
  virtine::Memory bytes;
  bytes.__set_bytes(std::string(image.begin(), image.end()));
  client.registerSnapshot(snapshot, bytes, /*keep=*/false);
  return snapshot;
}

void report(const char* what, const VirtineShell::Cleaned& cleaned,
            const std::string& way) {
  std::printf(
      "cleaned %s over %s: %lld bytes restored, %lld zeroed, every byte "
      "compared\n",
      what, way.c_str(), static_cast<long long>(cleaned.restored),
      static_cast<long long>(cleaned.zeroed));
}

// The service's own exceptions carry numbers, not words.
std::string inWords(const virtine::QuotaExceeded& e) {
  return "the server's limit on the " + e.reason + " is " +
         std::to_string(e.limit) + "; use a smaller file or raise the limit";
}

}  // namespace

int runVirtineClean(Session& session, const std::string& file,
                    std::uint64_t seed) try {
  const std::vector<std::uint8_t> image = readFile(file);
  std::vector<std::uint8_t> memory(memoryBytesFor(image.size()));
  std::copy(image.begin(), image.end(), memory.begin());
  std::printf("%s: %zu bytes as snapshot, %zu bytes of memory, seed %llu\n",
              file.c_str(), image.size(), memory.size(),
              static_cast<unsigned long long>(seed));
  Random random(seed);

  const auto lender = lenderFor(session.virtine(), session.transport());
  const std::string way =
      session.path() + (lender ? ", by reference" : ", in messages");
  const auto snapshot = registerImage(session.virtine(), image, lender);
  VirtineShell shell(session.virtine(), snapshot.id, memory, lender);

  auto extents = dirtySome(memory, image.size(), random);
  auto cleaned = shell.clean(extents);
  expectClean(memory, image, "by extents");
  report((std::to_string(extents.size()) + " extents").c_str(), cleaned, way);

  random.fill(memory);
  cleaned = shell.clean();
  expectClean(memory, image, "whole");
  report("all", cleaned, way);

  shell.detach();
  session.virtine().dropSnapshot(snapshot.id);
  return 0;
} catch (const virtine::QuotaExceeded& error) {
  throw std::runtime_error(inWords(error));
} catch (const virtine::BadMemory& error) {
  throw std::runtime_error("the server refused the memory: " + error.reason);
} catch (const virtine::OutOfCardMemory& error) {
  throw std::runtime_error("the card has " + std::to_string(error.free) +
                           " bytes free, not " + std::to_string(error.bytes) +
                           "; use a smaller file");
} catch (const virtine::CleanFailed& error) {
  throw std::runtime_error("cleaning failed: " + error.reason);
}

}  // namespace lanecall
