// SPDX-License-Identifier: Apache-2.0
#include "mapping.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace lanecall::guest_tests {

const int Mapping::kReadWrite = PROT_READ | PROT_WRITE;

Mapping::Mapping(int fd, std::uint64_t offset, std::size_t bytes,
                 int protection)
    : bytes_(bytes) {
  void* data = ::mmap(nullptr, bytes, protection, MAP_SHARED, fd,
                      static_cast<off_t>(offset));
  EXPECT_NE(data, MAP_FAILED)
      << bytes << " at " << offset << ": " << std::strerror(errno);
  if (data != MAP_FAILED) data_ = data;
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  reset();
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = other.bytes_;
  return *this;
}

void Mapping::reset() {
  if (data_) ::munmap(data_, bytes_);
  data_ = nullptr;
}

int choose_mapped(int fd, lanecall_mapping* mapping) {
  return ::ioctl(fd, LANECALL_IOC_MAP, mapping) == 0 ? 0 : errno;
}

bool mapped_mode_is_there() {
  Fd fd = open_channel();
  lanecall_mapping mapping{};
  return choose_mapped(fd.get(), &mapping) != EOPNOTSUPP;
}

MappedChannel::MappedChannel(Fd fd) : fd_(std::move(fd)) {
  EXPECT_EQ(choose_mapped(fd_.get(), &map_), 0);
  int file = fd_.get();
  status_ = Mapping(file, map_.status_offset, map_.page_bytes);
  index_ = Mapping(file, map_.index_offset, map_.page_bytes);
  doorbell_ = Mapping(file, map_.doorbell_offset, map_.page_bytes, PROT_WRITE);
  tx_ = Mapping(file, map_.tx_offset, 2UL * map_.tx_bytes);
  rx_ = Mapping(file, map_.rx_offset, 2UL * map_.rx_bytes);
  if (!index_) return;  // the test has failed
  lanecall_ring_init(&txRing_, &index()->tx_producer, &index()->tx_consumer,
                     map_.tx_bytes);
  lanecall_ring_init(&rxRing_, &index()->rx_producer, &index()->rx_consumer,
                     map_.rx_bytes);
}

MappedChannel MappedChannel::with(const std::string& order,
                                  const char* device) {
  MappedChannel channel(device);
  channel.send(order + "\n");
  return channel;
}

void MappedChannel::ring() {
  volatile std::uint32_t* page = doorbell_.as<volatile std::uint32_t>();
  *page = 1;
}

std::size_t MappedChannel::put(std::string_view data) {
  std::int64_t room = lanecall_ring_space(&txRing_);
  auto bytes = std::min(
      data.size(), static_cast<std::size_t>(std::max<std::int64_t>(room, 0)));
  if (bytes == 0) return 0;
  std::memcpy(txBytes() + lanecall_ring_offset(&txRing_, txRing_.own),
              data.data(), bytes);
  if (lanecall_ring_publish(&txRing_, static_cast<std::uint32_t>(bytes)))
    ring();
  return bytes;
}

std::string MappedChannel::take(std::size_t most) {
  std::int64_t there = lanecall_ring_look(&rxRing_);
  EXPECT_GE(there, 0);
  auto bytes = std::min(
      most, static_cast<std::size_t>(std::max<std::int64_t>(there, 0)));
  std::string data(reinterpret_cast<char*>(rxBytes()) +
                       lanecall_ring_offset(&rxRing_, rxRing_.own),
                   bytes);
  if (bytes &&
      lanecall_ring_release(&rxRing_, static_cast<std::uint32_t>(bytes)))
    ring();
  return data;
}

void MappedChannel::send(const std::string& data) {
  for (std::size_t done = 0; done < data.size();) {
    std::size_t n = put(std::string_view(data).substr(done));
    done += n;
    if (n) continue;
    ASSERT_GE(lanecall_ring_space(&txRing_), 0);
    ASSERT_EQ(poll_for(fd(), POLLOUT), POLLOUT) << "after " << done;
  }
}

std::string MappedChannel::receive(std::size_t count) {
  std::string data;
  while (data.size() < count) {
    std::string part = take(count - data.size());
    data += part;
    if (!part.empty()) continue;
    short events = poll_for(fd(), POLLIN);
    EXPECT_TRUE(events & POLLIN) << events << " after " << data.size();
    if (!(events & POLLIN)) break;
    if (events & POLLHUP && lanecall_ring_look(&rxRing_) == 0) break;
  }
  return data;
}

std::string MappedChannel::receiveToEnd() {
  return receive(static_cast<std::size_t>(-1));
}

void MappedChannel::unmapRings() {
  tx_.reset();
  rx_.reset();
}

}  // namespace lanecall::guest_tests
