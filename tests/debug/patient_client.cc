// SPDX-License-Identifier: Apache-2.0
#include "patient_client.h"

#include <fcntl.h>
#include <lanecall/ring.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "../guest/lending.h"

namespace lanecall::debug_tests {
namespace {

using namespace guest_tests;

constexpr int kBrieflyMs = 20;
constexpr suseconds_t kAlarmUs = 40'000;
constexpr std::size_t kLongest = 3 * kPage;

void on_alarm(int) {}

// Every call that blocks is cut short (no SA_RESTART).
void start_alarm() {
  struct sigaction action {};
  action.sa_handler = on_alarm;
  ::sigaction(SIGALRM, &action, nullptr);
  const itimerval often{{0, kAlarmUs}, {0, kAlarmUs}};
  ::setitimer(ITIMER_REAL, &often, nullptr);
}

// What a descriptor maps, if it does.
class Part {
 public:
  Part(int fd, std::uint64_t offset, std::size_t bytes, int protection)
      : bytes_(bytes),
        data_(::mmap(nullptr, bytes, protection, MAP_SHARED, fd,
                     static_cast<off_t>(offset))) {}
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  ~Part() {
    if (*this) ::munmap(data_, bytes_);
  }
  explicit operator bool() const { return data_ != MAP_FAILED; }
  template <typename T = unsigned char>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  void* data_;
};

}  // namespace

PatientClient::PatientClient(const char* device, std::string secret,
                             std::uint64_t seed)
    : device_(device),
      secret_(std::move(secret)),
      random_(seed),
      buffer_(kLongest) {
  ::signal(SIGPIPE, SIG_IGN);
  start_alarm();
}

void PatientClient::look(const void* bytes, std::size_t count) {
  if (::memmem(bytes, count, secret_.data(), secret_.size()))
    hasSeenTheSecret_ = true;
}

void PatientClient::awaitBriefly(int fd, short events) {
  pollfd entry{fd, events, 0};
  ::poll(&entry, 1, kBrieflyMs);
}

Fd PatientClient::open() {
  const int flags = pick(2) ? O_NONBLOCK : 0;
  return Fd(::open(device_, O_RDWR | O_CLOEXEC | flags));
}

// Small rings, nearly always: they cost a debug kernel less.
void PatientClient::ask(int fd) {
  lanecall_info info{};
  lanecall_channel_status status{};
  if (pick(16)) {
    lanecall_ring_sizes sizes{4096U << pick(3), 4096U << pick(3)};
    ::ioctl(fd, LANECALL_IOC_SET_RINGS, &sizes);
  }
  ::ioctl(fd, LANECALL_IOC_INFO, &info);
  ::ioctl(fd, LANECALL_IOC_STATUS, &status);
  if (pick(4) == 0) readSysfs(info.channel);
}

void PatientClient::readSysfs(unsigned channel) {
  const std::string folder = "channel" + std::to_string(channel) + "/";
  for (const char* file : {"state", "comm", "user_tx_bytes"}) {
    const std::string text = sysfs(folder + file, device_);
    look(text.data(), text.size());
  }
}

void PatientClient::exchange(int fd) {
  (void)!::write(fd, "echo\n", 5);
  for (unsigned i = 0; i < 3; i++) {
    std::fill(buffer_.begin(), buffer_.end(), static_cast<char>(random_()));
    (void)!::write(fd, buffer_.data(), 1 + pick(kLongest));
    awaitBriefly(fd, POLLIN);
    const ssize_t got = ::read(fd, buffer_.data(), buffer_.size());
    if (got > 0) look(buffer_.data(), static_cast<std::size_t>(got));
    awaitBriefly(fd, POLLOUT);
  }
  if (pick(2)) (void)::fsync(fd);
}

void PatientClient::useMapped(int fd) {
  lanecall_mapping map{};
  for (unsigned i = 0; ::ioctl(fd, LANECALL_IOC_MAP, &map) != 0; i++) {
    if (i == 2) return;
    awaitBriefly(fd, POLLOUT);
  }
  const int both = PROT_READ | PROT_WRITE;
  const Part status(fd, map.status_offset, map.page_bytes, both);
  const Part index(fd, map.index_offset, map.page_bytes, both);
  const Part bell(fd, map.doorbell_offset, map.page_bytes, PROT_WRITE);
  const Part tx(fd, map.tx_offset, 2UL * map.tx_bytes, both);
  const Part rx(fd, map.rx_offset, 2UL * map.rx_bytes, both);
  if (!status || !index || !bell || !tx || !rx) return;
  auto* page = index.as<lanecall_index_page>();
  lanecall_ring ring{};
  lanecall_ring_init(&ring, &page->tx_producer, &page->tx_consumer,
                     map.tx_bytes);
  for (unsigned i = 0; i < 3; i++) {
    std::memcpy(tx.as(), "echo\nechoechoecho", 17);
    lanecall_ring_publish(&ring, 17);
    *bell.as<volatile std::uint32_t>() = 1;
    awaitBriefly(fd, POLLIN);
    look(rx.as(), rx.bytes());
    look(index.as(), index.bytes());
    look(status.as(), status.bytes());
  }
  if (pick(2)) (void)::fsync(fd);
}

void PatientClient::lend(int fd) {
  Memory memory(kPage * (1 + pick(8)));
  lanecall_region_registration wanted{};
  wanted.address = reinterpret_cast<std::uintptr_t>(memory.data());
  wanted.bytes = memory.bytes();
  wanted.access = kBoth;
  if (register_region(fd, &wanted) != 0) return;
  sync_region(fd, wanted.region, LANECALL_SYNC_FOR_CPU, 0, memory.bytes());
  look(memory.data(), memory.bytes());
  if (pick(2)) unregister_region(fd, wanted.region);
}

void PatientClient::round() {
  Fd fd = open();
  if (!fd) return awaitBriefly(-1, 0);  // until the driver is bound again
  awaitBriefly(fd.get(), POLLOUT);
  ask(fd.get());
  if (pick(3) == 0) lend(fd.get());
  if (pick(2)) {
    exchange(fd.get());
  } else {
    useMapped(fd.get());
  }
}

}  // namespace lanecall::debug_tests
