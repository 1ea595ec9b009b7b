// SPDX-License-Identifier: Apache-2.0
// A channel whose rings this program has mapped, at file level: mmap and
// ring.h, nothing in between. Runs in the guest, on either plane.
#pragma once

#include <lanecall/driver.h>
#include <lanecall/ring.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "channel.h"

namespace lanecall::guest_tests {

// One mmap(MAP_SHARED), undone when it goes.
class Mapping {
 public:
  Mapping() = default;
  Mapping(int fd, std::uint64_t offset, std::size_t bytes,
          int protection = kReadWrite);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping() { reset(); }
  void reset();
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  static const int kReadWrite;

  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

// LANECALL_IOC_MAP: 0, or an errno value.
int choose_mapped(int fd, lanecall_mapping* mapping);

// False where programs cannot share memory with the device.
bool mapped_mode_is_there();

class MappedChannel {
 public:
  // Takes over a channel that is open, or opens one; fails the test if that
  // or mapping fails.
  explicit MappedChannel(Fd fd);
  explicit MappedChannel(const char* device = kPeer)
      : MappedChannel(open_channel(device)) {}
  // The same, and the peer was told what to do.
  static MappedChannel with(const std::string& order,
                            const char* device = kPeer);

  int fd() const { return fd_.get(); }
  bool isInCard() const { return map_.flags & LANECALL_MAPPING_IN_CARD; }
  const lanecall_mapping& map() const { return map_; }
  lanecall_index_page* status() { return status_.as<lanecall_index_page>(); }
  lanecall_index_page* index() { return index_.as<lanecall_index_page>(); }
  lanecall_ring& tx() { return txRing_; }
  lanecall_ring& rx() { return rxRing_; }
  std::uint8_t* txBytes() { return tx_.as<std::uint8_t>(); }
  std::uint8_t* rxBytes() { return rx_.as<std::uint8_t>(); }
  std::uint32_t state() {
    return LANECALL_STATE(lanecall_get32(&status()->status));
  }
  bool isGone() { return lanecall_get32(&status()->gone) != 0; }

  void ring();                             // the doorbell
  std::size_t put(std::string_view data);  // what fits now, if anything
  std::string take(std::size_t most);      // what is there now
  // Sleep in poll when there is nothing to do; fail the test at an end.
  void send(const std::string& data);
  std::string receive(std::size_t count);
  std::string receiveToEnd();

  // The descriptor goes, the mappings stay; or the other way round.
  void closeFile() { fd_.reset(); }
  void unmapRings();

 private:
  Fd fd_;
  lanecall_mapping map_{};
  Mapping status_, index_, doorbell_, tx_, rx_;
  lanecall_ring txRing_{}, rxRing_{};
};

}  // namespace lanecall::guest_tests
