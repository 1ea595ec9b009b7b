// SPDX-License-Identifier: Apache-2.0
// A device that lies (x-hostile), in every place and in every way, while
// programs use it and the driver is bound and unbound. Every call comes to an
// end by its own bound, the kernel's checkers have nothing to say, nobody sees
// what is another user's, another device goes on, and when the device tells the
// truth again it works.
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../guest/lending.h"
#include "bounded.h"
#include "lying_device.h"
#include "patient_client.h"
#include "settings.h"

namespace lanecall::debug_tests {
namespace {

using namespace guest_tests;

constexpr int kHasSeen = 70;  // exit status: another user's secret
constexpr int kClients = 4;
constexpr int kCasesToTell = 20;
constexpr int kRounds = 3;  // of a client, in each case
constexpr std::size_t kSecretBytes = 16;
constexpr std::chrono::milliseconds kPause{20};
// A binding driver reads some thirty registers, and is to succeed at times.
constexpr std::uint32_t kRarely = 30;
constexpr std::uint32_t kOften = 3;

// How far it is, where it takes long.
void tellNumber(std::uint32_t number, const char* of) {
  std::printf("%u %s so far\n", number, of);
  std::fflush(stdout);
}

// What children tell: memory that they share.
template <typename T>
class SharedValue {
 public:
  SharedValue()
      : value_(new (::mmap(nullptr, kPage, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0)) T{}) {}
  SharedValue(const SharedValue&) = delete;
  SharedValue& operator=(const SharedValue&) = delete;
  ~SharedValue() { ::munmap(value_, kPage); }
  T& operator*() const { return *value_; }

 private:
  T* value_;
};

using Flag = SharedValue<std::atomic<bool>>;
using Count = SharedValue<std::atomic<long>>;

// A channel whose rings cost a debug kernel little.
Fd open_small(const char* device) {
  Fd fd = open_channel(device);
  lanecall_ring_sizes sizes{2 * kPage, 2 * kPage};
  EXPECT_EQ(::ioctl(fd.get(), LANECALL_IOC_SET_RINGS, &sizes), 0);
  return fd;
}

// Another user, with secrets, on a device that does not lie.
class Bystander {
 public:
  explicit Bystander(const std::string& secret)
      : child_("the bystander", kSomebody, [this, secret] {
          while (!*stop_) {
            call(secret);
            ++*calls_;
            std::this_thread::sleep_for(kPause);  // the processor is others'
          }
          return ::testing::Test::HasFailure() ? 1 : 0;
        }) {}
  ~Bystander() {
    *stop_ = true;
    EXPECT_EQ(child_.wait(), 0) << "the bystander lost something";
  }
  // Waits until a call more has begun and ended.
  bool goesOn() const {
    const long before = *calls_;
    return in_time([this, before] { return *calls_ >= before + 2; });
  }
  long calls() const { return *calls_; }

 private:
  // Fills rings and memory that others may get afterwards.
  static void call(const std::string& secret) {
    std::string data;
    while (data.size() < 2 * kPage - 100) data += secret;
    Memory memory(data.size());
    memory.put(0, data);
    Fd fd = open_small(kTcpPeer);
    write_all(fd.get(), "echo\n" + data);
    EXPECT_EQ(read_count(fd.get(), data.size()), data);
  }

  Flag stop_;
  Count calls_;
  Child child_;
};

int is_working() {
  Fd fd = open_small(kPeer);
  write_all(fd.get(), "echo\nagain");
  EXPECT_EQ(read_count(fd.get(), 5), "again");
  return ::testing::Test::HasFailure() ? 1 : 0;
}

class HostileDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!is_booted_with("lanecall_test.hostile"))
      GTEST_SKIP() << "the device does not lie";
    pci_ = info_of(open_channel().get()).device;
    keepEnabled();
    device_ = std::make_unique<LyingDevice>(pci_);
    ASSERT_FALSE(HasFailure());
    device_->seed(static_cast<std::uint32_t>(settings().seed));
    secret_ = random_bytes(kSecretBytes,
                           static_cast<std::uint32_t>(settings().seed) + 1);
    bystander_ = std::make_unique<Bystander>(secret_);
  }
  void TearDown() override {
    if (!bystander_) return;
    std::printf("%ld calls by a bystander\n", bystander_->calls());
    bystander_.reset();
    device_.reset();
    EXPECT_TRUE(all_channels_free());
    EXPECT_EQ(regions_in_use(), 0);
  }

  LyingDevice& device() { return *device_; }
  std::uint64_t draw() { return random_(); }

  // ---- What root does meanwhile, in time ------------------------------------

  bool write(const std::string& path, const std::string& text) {
    return run_bounded(path, 0, [&] { return write_file(path, text); }) == 1;
  }
  bool bind() { return write(kDriver + "bind", pci_); }
  void rebind() {
    write(kDriver + "unbind", pci_);
    bind();
  }
  void reset() { write("/sys/bus/pci/devices/" + pci_ + "/reset", "1"); }
  // So that its registers are there when the driver has left it, too.
  void keepEnabled() {
    EXPECT_TRUE(write(kDriver + "unbind", pci_));
    EXPECT_TRUE(write("/sys/bus/pci/devices/" + pci_ + "/enable", "1"));
    EXPECT_TRUE(bind());
  }
  bool isBound() { return ::access((kDriver + pci_).c_str(), F_OK) == 0; }

  // ---- What clients do ------------------------------------------------------

  Child client(const std::function<bool()>& goes_on) {
    const std::uint64_t seed = draw();
    return Child("a client", kNobody, [this, &goes_on, seed] {
      PatientClient client(kPeer, secret_, seed);
      while (goes_on()) client.round();
      return client.hasSeenTheSecret() ? kHasSeen : 0;
    });
  }
  void useBriefly() {
    int round = 0;
    EXPECT_EQ(client([&] { return round++ < kRounds; }).wait(), 0);
  }

  // ---- The end of a series of lies ------------------------------------------

  void disturb(bool device_registers) {
    if (device_registers) {
      rebind();
    } else {
      reset();
    }
  }
  // From now on the device is honest, and all is well. To a driver that has
  // believed a lie about the device it is another one.
  void expectAllIsWell(bool device_registers) {
    device().stop();
    disturb(device_registers);
    EXPECT_TRUE(isBound()) << "the driver does not take an honest device";
    EXPECT_EQ(run_bounded("a call", 0, is_working), 0);
    EXPECT_TRUE(bystander_->goesOn()) << "the bystander does not go on";
  }

 private:
  const std::string kDriver = "/sys/bus/pci/drivers/lanecall/";
  // How long the device may take. A reset has as long as ever: what a device
  // has that does not come to rest is lost for good.
  Parameter drain_{"drain_ms", "50"}, add_{"add_ms", "100"},
      revoke_{"revoke_ms", "100"};
  std::string pci_, secret_;
  std::unique_ptr<LyingDevice> device_;
  std::unique_ptr<Bystander> bystander_;
  std::mt19937_64 random_{settings().seed};
};

// A channel that ran and says that it is only READY: a driver that went along
// could be kept going round for ever.
TEST_F(HostileDevice, AStateThatGoesBackEndsTheChannel) {
  Fd fd = open_small(kPeer);
  write_all(fd.get(), "echo\nx");
  ASSERT_EQ(read_count(fd.get(), 1), "x");
  device().lie(bit(LANECALL_HOSTILE_STATUS), LANECALL_LIE_ONE_LESS, 1);
  EXPECT_TRUE(poll_for(fd.get(), POLLPRI) & POLLERR);
  EXPECT_EQ(status_of(fd.get()).error, EIO);
  fd.reset();
  expectAllIsWell(false);
}

// Bytes are believed only if the word next to them, which is the driver's own,
// is as it was left. The device has no objection to this one.
TEST_F(HostileDevice, ATailThatIsNotOursEndsTheChannel) {
  Fd fd = open_small(kPeer);
  write_all(fd.get(), "echo\nx");
  ASSERT_TRUE(poll_for(fd.get(), POLLIN) & POLLIN);
  const std::uint32_t before = device().told();
  device().lie(bit(LANECALL_HOSTILE_RX_TAIL), LANECALL_LIE_ONE, 1);
  ASSERT_TRUE(in_time([&] { return device().told() != before; }));
  EXPECT_EQ(status_of(fd.get()).error, 0);
  char byte;
  EXPECT_EQ(::read(fd.get(), &byte, 1), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(status_of(fd.get()).error, EIO);
  fd.reset();
  expectAllIsWell(false);
}

// Each thing that it can say in each place, always.
TEST_F(HostileDevice, LiesInOnePlace) {
  std::vector<Lie> lies = all_lies();
  std::shuffle(lies.begin(), lies.end(), std::mt19937_64(settings().seed));
  int told = 0;
  for (const Lie& lie : lies) {
    if (told == settings().cases) break;
    SCOPED_TRACE(lie.name());
    const std::uint32_t before = device().told();
    device().lie(bit(lie.place), lie.kind, 1);
    if (lie.isOfDevice()) rebind();
    useBriefly();
    if (!lie.isOfDevice()) reset();
    expectAllIsWell(lie.isOfDevice());
    if (device().told() != before && ++told % kCasesToTell == 0)
      tellNumber(static_cast<std::uint32_t>(told), "cases");
    if (HasFailure()) break;
  }
  std::printf("%d cases in which the device lied, %u lies\n", told,
              device().told());
  EXPECT_GE(told, std::min(settings().cases, 200));
}

// Any lie anywhere, again and again: of what channels and regions live by, and
// then everywhere, which few bindings survive.
TEST_F(HostileDevice, LiesAtRandom) {
  const std::uint32_t before = device().told();
  const auto enough = [&] {
    return device().told() - before >=
           static_cast<std::uint32_t>(settings().lies);
  };
  for (bool everywhere = false; !enough() && !HasFailure();
       everywhere = !everywhere) {
    Flag stop;
    const std::function<bool()> goes_on = [&] { return !*stop; };
    std::vector<Child> clients;
    for (int i = 0; i < kClients; i++) clients.push_back(client(goes_on));
    device().lie(channels_and_regions() | (everywhere ? device_registers() : 0),
                 0, everywhere ? kRarely : kOften);
    for (int i = 0; i < (everywhere ? 3 : 10) && !enough(); i++) {
      std::this_thread::sleep_for(std::chrono::milliseconds(draw() % 200));
      disturb(everywhere);
    }
    *stop = true;
    for (Child& each : clients) EXPECT_EQ(each.wait(), 0);
    expectAllIsWell(everywhere);
    tellNumber(device().told() - before, "random lies");
  }
  std::printf("%u random lies\n", device().told() - before);
}

}  // namespace
}  // namespace lanecall::debug_tests
