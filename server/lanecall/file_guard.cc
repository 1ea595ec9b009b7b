// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <lanecall/descriptor.h>
#include <lanecall/file_guard.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace lanecall {
namespace {

constexpr std::uint64_t kForSockets =
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE;

// Those of the first kernel with Landlock that change anything. Reading is left
// to the time before the system calls are refused: looking up a host name takes
// libraries and files of the system.
constexpr std::uint64_t kGuarded =
    kForSockets | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
    LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_CHAR |
    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
    LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
    LANDLOCK_ACCESS_FS_MAKE_SYM;

bool allowSocketsIn(const Descriptor& rules, const std::string& folder) {
  const Descriptor there(
      ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!there.valid()) return true;  // whoever listens there will say so
  landlock_path_beneath_attr below{};
  below.allowed_access = kForSockets;
  below.parent_fd = there.get();
  return ::syscall(SYS_landlock_add_rule, rules.get(),
                   LANDLOCK_RULE_PATH_BENEATH, &below, 0) == 0;
}

}  // namespace

int makeOnlySocketsIn(const std::vector<std::string>& folders) {
  landlock_ruleset_attr guarded{};
  guarded.handled_access_fs = kGuarded;
  const Descriptor rules(static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, &guarded, sizeof guarded, 0)));
  if (!rules.valid()) return -errno;
  for (const std::string& folder : folders)
    if (!allowSocketsIn(rules, folder)) return -errno;
  return ::syscall(SYS_landlock_restrict_self, rules.get(), 0) < 0 ? -errno : 0;
}

}  // namespace lanecall
