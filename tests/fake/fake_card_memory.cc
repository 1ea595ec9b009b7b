// SPDX-License-Identifier: Apache-2.0
#include "fake_card_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace lanecall::test {
namespace {

bool overlap(const Place& a, const Place& b) {
  return lanecall_card_overlap(a.offset, a.bytes, b.offset, b.bytes);
}

}  // namespace

FakeCardMemory::FakeCardMemory(uint64_t bytes)
    : file_(memfd_create("lanecall-card", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  const auto fail = [](const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
  };
  if (!file_.valid()) fail("memfd_create");
  if (ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) fail("ftruncate");
  if (fcntl(file_.get(), F_ADD_SEALS,
            F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    fail("F_ADD_SEALS");
  }
  void* map =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (map == MAP_FAILED) fail("mmap");
  bytes_ = {static_cast<unsigned char*>(map), bytes};
}

FakeCardMemory::~FakeCardMemory() { munmap(bytes_.data(), bytes_.size()); }

bool FakeCardMemory::is_valid(const Places& places, uint32_t page_bytes) const {
  for (size_t i = 0; i < places.size(); ++i) {
    if (!lanecall_card_fits(places[i].offset, places[i].bytes, page_bytes,
                            bytes_.size())) {
      return false;
    }
    for (size_t j = 0; j < i; ++j) {
      if (overlap(places[i], places[j])) return false;
    }
  }
  return true;
}

const Place* FakeCardMemory::inUse(const Places& places) const {
  for (const auto& [channel, held] : held_) {
    for (const Place& theirs : held) {
      for (const Place& ours : places) {
        if (overlap(theirs, ours)) return &theirs;
      }
    }
  }
  return nullptr;
}

void FakeCardMemory::hold(unsigned channel, const Places& places) {
  for (const Place& place : places) {
    std::memset(&bytes_[place.offset], 0, place.bytes);
  }
  held_[channel] = places;
}

}  // namespace lanecall::test
