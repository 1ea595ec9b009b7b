// SPDX-License-Identifier: Apache-2.0
// Users who are not root do what they like with the node: random system calls
// with random arguments, from many threads that share descriptors, and from
// children. The kernel's checkers have nothing to say to it, everything comes
// back, and another program's channel goes on.
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "../guest/lending.h"
#include "settings.h"

namespace lanecall::debug_tests {
namespace {

using namespace guest_tests;

constexpr int kThreads = 8;
constexpr uid_t kNobody = 65534;
constexpr int kDescriptors = 24;      // shared by all threads
constexpr std::size_t kMappings = 4;  // of each thread
constexpr int kCallsToTell = 100'000;
constexpr std::size_t kMuch = std::size_t{1} << 40;

// Where a thread goes on when what it touched is not there.
thread_local sigjmp_buf notThere;
thread_local bool isTouching = false;

void on_bad_memory(int) {
  if (isTouching) siglongjmp(notThere, 1);
  ::_exit(70);  // a fault of this test's own
}

void on_alarm(int) {}

void handle(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_NODEFER;
  ::sigaction(number, &action, nullptr);  // no SA_RESTART: calls end with it
}

// Sends the calling thread a signal every 20 ms, so that no call blocks it for
// long.
class Alarm {
 public:
  Alarm() {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGALRM;
    event._sigev_un._tid = ::gettid();
    EXPECT_EQ(::timer_create(CLOCK_MONOTONIC, &event, &timer_), 0);
    itimerspec often{{0, 20'000'000}, {0, 20'000'000}};
    EXPECT_EQ(::timer_settime(timer_, 0, &often, nullptr), 0);
  }
  ~Alarm() { ::timer_delete(timer_); }

 private:
  timer_t timer_{};
};

// Descriptors that any thread may use, and take from another in the middle of
// a call.
class Shared {
 public:
  Shared() {
    for (auto& each : fds_) each = -1;
  }
  ~Shared() {
    for (auto& each : fds_) put(each, -1);
  }
  int get(unsigned i) const { return fds_[i % kDescriptors]; }
  void replace(unsigned i, int fd) { put(fds_[i % kDescriptors], fd); }

  std::mutex mapping;  // see User::alone()
  std::barrier<> start{kThreads};

 private:
  static void put(std::atomic<int>& place, int fd) {
    const int old = place.exchange(fd);
    if (old >= 0) ::close(old);
  }
  std::array<std::atomic<int>, kDescriptors> fds_;
};

// One hostile thread.
class User {
 public:
  User(Shared& shared, std::uint64_t seed) : shared_(shared), random_(seed) {
    ::mprotect(end(), kPage, PROT_NONE);
  }
  ~User() {
    for (auto& each : mapped_) unmap(each);
  }

  void call() {
    switch (pick(20)) {
      case 0:
      case 1:
        return open();
      case 2:
        return shared_.replace(pick(kDescriptors), -1);
      case 3:
      case 4:
      case 5:
      case 6:
        return control();
      case 7:
      case 8:
        return map();
      case 9: {
        auto lock = alone();
        return unmap(mapped_[pick(kMappings)]);
      }
      case 10:
        return change_mapping();
      case 11:
      case 12:
        return touch();
      case 13:
        return read();
      case 14:
      case 15:
        return write();
      case 16:
        return poll();
      case 17:
        return other();
      case 18:
        return pick(50) ? other() : fork();
      default:
        return lend_and_take_back();
    }
  }

 private:
  struct Mapped {
    void* data = nullptr;
    std::size_t bytes = 0;
  };

  unsigned pick(unsigned below) { return random_() % below; }
  bool chance(unsigned one_in) { return pick(one_in) == 0; }
  int fd() { return shared_.get(pick(kDescriptors)); }

  // A number at some boundary, or any.
  std::uint64_t number() {
    switch (pick(6)) {
      case 0:
        return pick(3);
      case 1:
        return (1ULL << pick(64)) - pick(3);
      case 2:
        return kPage * pick(200);
      case 3:
        return ~std::uint64_t{0} - pick(kPage);
      case 4:
        return pick(100000);
      default:
        return random_() << 32 | random_();
    }
  }

  // Memory of this thread's, or what is none, or none of its business.
  void* pointer() {
    switch (pick(8)) {
      case 0:
        return nullptr;
      case 1:
        return reinterpret_cast<void*>(number());
      case 2:
        return mapped_[pick(kMappings)].data;
      case 3:
        return end() - pick(64);
      default:
        return buffer_.data() + pick(2 * kPage);
    }
  }

  std::uint8_t* end() const { return buffer_.data() + buffer_.bytes() - kPage; }
  std::size_t length() { return chance(8) ? number() : pick(3 * kPage); }

  void open() {
    int flags = chance(4) ? O_RDONLY : O_RDWR;
    if (!chance(5)) flags |= O_NONBLOCK;
    const char* device = chance(5) ? kRefused : chance(20) ? kNoAnswer : kPeer;
    const int fd = ::open(device, flags | O_CLOEXEC);
    if (fd < 0) return;
    if (chance(2)) (void)!::write(fd, "echo\n", 5);
    shared_.replace(pick(kDescriptors), fd);
  }

  unsigned long command() {
    switch (pick(12)) {
      case 0:
        return LANECALL_IOC_INFO;
      case 1:
        return LANECALL_IOC_SET_RINGS;
      case 2:
        return LANECALL_IOC_STATUS;
      case 3:
      case 4:
      case 5:
        return LANECALL_IOC_MAP;
      case 6:
        return LANECALL_IOC_SET_MODERATION;
      case 7:
        return LANECALL_IOC_REGION_REGISTER;
      case 8:
        return LANECALL_IOC_REGION_UNREGISTER;
      case 9:
        return LANECALL_IOC_REGION_SYNC;
      case 10:
        return _IOC(pick(4), LANECALL_IOC, pick(32), pick(128));
      default:
        return random_();
    }
  }

  void control() {
    std::array<std::uint64_t, 16> argument;
    for (auto& word : argument) word = number();
    if (chance(2)) {  // likely sizes, memory that is there
      const std::uint32_t sizes[] = {4096U << pick(8), 4096U << pick(8)};
      std::memcpy(argument.data(), sizes, sizeof(sizes));
      if (chance(2)) {
        argument[0] = reinterpret_cast<std::uintptr_t>(pointer());
        argument[1] = length();
        argument[2] = pick(5);
      }
    }
    ::ioctl(fd(), command(), chance(5) ? pointer() : argument.data());
    for (auto& mapping : known_)
      if (chance(kMappings)) std::memcpy(&mapping, argument.data(), 56);
  }

  std::uint64_t offset() {
    const lanecall_mapping& known = known_[pick(kMappings)];
    switch (pick(7)) {
      case 0:
        return number() & ~(kPage - 1);
      case 1:
        return known.index_offset;
      case 2:
        return known.doorbell_offset;
      case 3:
        return known.tx_offset;
      case 4:
        return known.rx_offset;
      case 5:
        return known.status_offset;
      default:
        return known.tx_offset + kPage * pick(64);
    }
  }

  // Of this program alone: no other thread maps anything where this one is
  // about to. A child has no other threads.
  std::unique_lock<std::mutex> alone() const {
    return isChild_ ? std::unique_lock<std::mutex>()
                    : std::unique_lock<std::mutex>(shared_.mapping);
  }

  // Where something may be mapped, with a page behind it that is not there:
  // what reads or writes too much does no harm to this program itself.
  static void* reserve(std::size_t bytes) {
    return ::mmap(nullptr, bytes + kPage, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }

  void map() {
    if (chance(2)) {  // as a program does it
      lanecall_mapping& known = known_[pick(kMappings)];
      ::ioctl(fd(), LANECALL_IOC_MAP, &known);
    }
    const std::size_t bytes =
        chance(10) ? number() % kMuch : kPage * (chance(2) ? 1 : 1 + pick(130));
    const int flags[] = {MAP_SHARED,
                         MAP_SHARED,
                         MAP_SHARED,
                         MAP_PRIVATE,
                         MAP_SHARED | MAP_POPULATE,
                         MAP_SHARED | MAP_LOCKED};
    const int protection =
        chance(3) ? static_cast<int>(pick(8)) : PROT_READ | PROT_WRITE;
    Mapped& mapped = mapped_[pick(kMappings)];
    auto lock = alone();
    unmap(mapped);
    void* place = reserve(bytes);
    if (place == MAP_FAILED) return;
    mapped = {place, bytes};
    if (::mmap(place, bytes, protection, flags[pick(6)] | MAP_FIXED, fd(),
               static_cast<off_t>(offset())) == MAP_FAILED)
      unmap(mapped);
  }

  static void unmap(Mapped& mapped) {
    if (mapped.data) ::munmap(mapped.data, mapped.bytes + kPage);
    mapped = {};
  }

  void change_mapping() {
    auto lock = alone();
    Mapped& mapped = mapped_[pick(kMappings)];
    if (!mapped.data) return;
    switch (pick(5)) {
      case 0:
        ::mprotect(mapped.data, mapped.bytes, static_cast<int>(pick(8)));
        return;
      case 1:
        ::madvise(mapped.data, mapped.bytes, pick(26));
        return;
      case 2:
        ::msync(mapped.data, mapped.bytes, MS_SYNC);
        return;
      case 3:
        return move(mapped);
      default:
        return unmap_part(mapped);
    }
  }

  void move(Mapped& mapped) {
    Mapped to;
    to.bytes = kPage * (1 + pick(64));
    to.data = reserve(to.bytes);
    if (to.data == MAP_FAILED) return;
    if (::mremap(mapped.data, mapped.bytes, to.bytes,
                 MREMAP_MAYMOVE | MREMAP_FIXED, to.data) == MAP_FAILED)
      return unmap(to);
    ::munmap(static_cast<char*>(mapped.data) + mapped.bytes, kPage);
    mapped = to;
  }

  // What comes in its place is not there, either.
  void unmap_part(Mapped& mapped) {
    const std::size_t part = kPage * pick(4);
    if (part < mapped.bytes)
      ::mmap(static_cast<char*>(mapped.data) + part, kPage, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }

  // Reads and writes what is mapped: indices, flags, bytes, doorbells.
  void touch() {
    Mapped& mapped = mapped_[pick(kMappings)];
    if (!mapped.data) return;
    const std::uint32_t value = static_cast<std::uint32_t>(number());
    const std::size_t at = random_() % mapped.bytes & ~std::size_t{3};
    if (sigsetjmp(notThere, 0) == 0) {
      isTouching = true;
      auto* word = reinterpret_cast<volatile std::uint32_t*>(
          static_cast<char*>(mapped.data) + (chance(2) ? at % 1024 : at));
      if (chance(3)) {
        (void)*word;
      } else {
        *word = value;
      }
    }
    isTouching = false;
  }

  void read() {
    if (chance(4)) {
      iovec parts[3];
      for (iovec& part : parts) part = {pointer(), length()};
      (void)!::readv(fd(), parts, static_cast<int>(pick(4)));
    } else {
      (void)!::read(fd(), pointer(), length());
    }
  }

  void write() {
    if (chance(4)) {
      iovec parts[3];
      for (iovec& part : parts) part = {pointer(), length()};
      (void)!::writev(fd(), parts, static_cast<int>(pick(4)));
    } else {
      (void)!::write(fd(), pointer(), length());
    }
  }

  void poll() {
    std::array<pollfd, 6> all;
    for (pollfd& each : all) each = {fd(), static_cast<short>(random_()), 0};
    ::poll(all.data(), all.size(), static_cast<int>(pick(4)));
  }

  void other() {
    const int one = fd();
    const int another = fd();
    switch (pick(12)) {
      case 0:
        ::fsync(one);
        return;
      case 1:
        ::lseek(one, static_cast<off_t>(number()), pick(5));
        return;
      case 2:
        shared_.replace(pick(kDescriptors), ::dup(one));
        return;
      case 3:
        ::fcntl(one, F_SETFL, chance(2) ? O_NONBLOCK : 0);
        return;
      case 4:
        (void)!::sendfile(one, another, nullptr, pick(kPage));
        return;
      case 5:
        (void)!::pwrite(one, pointer(), pick(kPage), number());
        return;
      case 6:
        (void)!::ftruncate(one, static_cast<off_t>(number()));
        return;
      case 7:
        watch(one);
        return;
      case 8:
        (void)!::fallocate(one, pick(4), 0, kPage);
        return;
      case 9:
        pipe_through(one);
        return;
      case 10:
        ::fcntl(one, F_SETFL, O_ASYNC | O_NONBLOCK);
        return;
      default: {
        struct stat about;
        ::fstat(one, &about);
      }
    }
  }

  void watch(int one) {
    Fd watcher(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = static_cast<std::uint32_t>(random_());
    ::epoll_ctl(watcher.get(), EPOLL_CTL_ADD, one, &event);
    ::epoll_wait(watcher.get(), &event, 1, static_cast<int>(pick(2)));
  }

  void pipe_through(int one) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
    Fd out(ends[0]);
    Fd in(ends[1]);
    const unsigned flags = SPLICE_F_NONBLOCK;
    ::splice(one, nullptr, in.get(), nullptr, pick(kPage), flags);
    ::splice(out.get(), nullptr, one, nullptr, pick(kPage), flags);
  }

  void lend_and_take_back() {
    lanecall_region_registration wanted{};
    wanted.address = reinterpret_cast<std::uintptr_t>(pointer());
    wanted.bytes = length();
    wanted.access = pick(5);
    const int one = fd();
    if (register_region(one, &wanted) == 0 && chance(2))
      unregister_region(one, wanted.region);
  }

  // A child that uses what it has inherited, and ends in its own way.
  void fork() {
    const pid_t child = ::fork();
    if (child == 0) {
      isChild_ = true;
      for (int i = 0; i < 20; i++) {
        switch (pick(4)) {
          case 0:
            control();
            break;
          case 1:
            map();
            break;
          case 2:
            touch();
            break;
          default:
            write();
        }
      }
      if (chance(2)) ::kill(::getpid(), SIGKILL);
      ::_exit(0);
    }
    if (child < 0) return;
    // A child has no alarm: it ends here if a call blocks it.
    int status;
    for (int i = 0; ::waitpid(child, &status, 0) < 0 && errno == EINTR; i++)
      if (i == 50) ::kill(child, SIGKILL);
  }

  Shared& shared_;
  bool isChild_ = false;
  std::mt19937_64 random_;
  std::array<Mapped, kMappings> mapped_{};
  std::array<lanecall_mapping, kMappings> known_{};
  Memory buffer_{5 * kPage};  // what follows end() is not there
};

// How far it is, where it takes long.
void tellCalls(int calls) {
  if (calls > 0 && calls % kCallsToTell == 0)
    ::dprintf(STDOUT_FILENO, "about %d random system calls so far\n", calls);
}

// All threads of one program that is nobody's.
[[noreturn]] void be_hostile(std::uint64_t seed, int calls) {
  if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(71);
  for (int number : {SIGSEGV, SIGBUS}) handle(number, on_bad_memory);
  handle(SIGALRM, on_alarm);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGIO, SIG_IGN);
  {
    Shared shared;
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; i++) {
      threads.emplace_back([&shared, seed, calls, i] {
        Alarm alarm;
        User user(shared, seed + static_cast<std::uint64_t>(i));
        shared.start.arrive_and_wait();
        for (int n = 0; n < calls / kThreads; n++) {
          if (i == 0) tellCalls(n * kThreads);
          user.call();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  ::_exit(0);
}

TEST(HostileUser, RandomSystemCallsHurtNobodyElse) {
  for (const char* device : {kPeer, kRefused, kNoAnswer})
    ASSERT_EQ(::chmod(device, 0666), 0) << std::strerror(errno);
  Fd bystander = open_with("echo");
  const pid_t hostile = ::fork();
  if (hostile == 0) be_hostile(settings().seed, settings().calls);
  ASSERT_GT(hostile, 0);

  int status = 0;
  long calls = 0;
  for (; ::waitpid(hostile, &status, WNOHANG) == 0; calls++) {
    const std::string data = pattern(static_cast<std::size_t>(calls), 100);
    write_all(bystander.get(), data);
    ASSERT_EQ(read_count(bystander.get(), 100), data) << "call " << calls;
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
      << "the hostile program's status is " << status;
  std::printf("%d random system calls, %ld calls by a bystander\n",
              settings().calls, calls);
  bystander.reset();
  EXPECT_TRUE(all_channels_free());
  EXPECT_EQ(regions_in_use(), 0);
  Fd fd = open_with("echo");
  write_all(fd.get(), "again");
  EXPECT_EQ(read_count(fd.get(), 5), "again");
}

}  // namespace
}  // namespace lanecall::debug_tests
