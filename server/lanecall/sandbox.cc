// SPDX-License-Identifier: Apache-2.0
#include <lanecall/file_guard.h>
#include <lanecall/sandbox.h>
#include <lanecall/system_calls.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <stdexcept>
#include <system_error>

namespace lanecall {
namespace {

[[noreturn]] void fail(const std::string& what, int error) {
  std::string why = std::generic_category().message(error);
  if (error == EINVAL || error == ENOSYS || error == EOPNOTSUPP)
    why += " (is it in this kernel?)";
  throw std::runtime_error("cannot set up the sandbox: " + what + ": " + why +
                           "; to do without it, --no-sandbox");
}

void giveUpCapabilities() {
  __user_cap_header_struct self{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capset, &self, none) < 0) fail("capset", errno);
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail("no_new_privs", errno);
}

bool guardFiles(const std::vector<std::string>& folders) {
  const int result = makeOnlySocketsIn(folders);
  // EPERM: a container whose own filter does not know it.
  if (result == -ENOSYS || result == -EOPNOTSUPP || result == -EPERM)
    return false;
  if (result < 0) fail("Landlock", -result);
  return true;
}

// Of a folder that cannot be read nobody knows.
bool has_only_sockets(const std::string& folder) {
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end;
       !error && at != end; at.increment(error))
    if (!std::filesystem::is_socket(at->symlink_status(error))) return false;
  return !error;
}

}  // namespace

Sandbox::Sandbox(const std::vector<std::string>& socketFolders)
    : folders_(socketFolders),
      guardsFiles_((giveUpCapabilities(), guardFiles(socketFolders))) {}

bool Sandbox::close() const {
  const bool removes =
      guardsFiles_ && !folders_.empty() &&
      std::all_of(folders_.begin(), folders_.end(), has_only_sockets);
  if (int result = allowOnlyServing(removes); result < 0)
    fail("seccomp", -result);
  return removes;
}

}  // namespace lanecall
