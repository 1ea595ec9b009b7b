// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <lanecall/card_memory.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <system_error>

namespace lanecall {
namespace {

constexpr int kReadAndWrite = PROT_READ | PROT_WRITE;

void require(int result) {
  if (result < 0)
    throw std::system_error(-result, std::generic_category(),
                            "map card memory");
}

}  // namespace

std::string CardMemory::refusal(int fd, std::uint64_t bytes) {
  struct stat file;
  int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0) return "card memory is no memfd";
  if (!(seals & F_SEAL_SHRINK))
    return "card memory is not sealed: it may shrink";
  if (::fstat(fd, &file) < 0) return "card memory has no size";
  if (bytes == 0 || bytes > static_cast<std::uint64_t>(file.st_size))
    return "card memory has " + std::to_string(file.st_size) + " bytes, not " +
           std::to_string(bytes);
  return {};
}

Mapping CardMemory::map(std::uint64_t offset, std::size_t bytes) const {
  Mapping mapping;
  require(
      mapping.map(fd_.get(), static_cast<off_t>(offset), bytes, kReadAndWrite));
  return mapping;
}

Mapping CardMemory::mapTwice(std::uint64_t offset, std::size_t bytes) const {
  Mapping mapping;
  require(mapping.mapTwice(fd_.get(), static_cast<off_t>(offset), bytes,
                           kReadAndWrite));
  return mapping;
}

}  // namespace lanecall
