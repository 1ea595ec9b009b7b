// SPDX-License-Identifier: Apache-2.0
#include <grp.h>
#include <lanecall/become_user.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace lanecall {
namespace {

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw std::runtime_error("cannot become user " + name + ": " + what);
}

}  // namespace

void becomeUser(const std::string& name) {
  errno = 0;
  // There are no other threads yet.
  // NOLINTNEXTLINE(concurrency-mt-unsafe)
  const passwd* user = ::getpwnam(name.c_str());
  if (!user && errno)
    fail(name, std::generic_category().message(errno) +
                   "; see how this machine looks users up");
  if (!user) fail(name, "there is none; make one, or name another");
  const gid_t group = user->pw_gid;
  const uid_t id = user->pw_uid;
  // In this order: who is somebody else cannot change groups any more.
  if (::setgroups(0, nullptr) < 0 || ::setresgid(group, group, group) < 0 ||
      ::setresuid(id, id, id) < 0)
    fail(name, std::generic_category().message(errno) +
                   "; start as root, or as that user without --user");
}

}  // namespace lanecall
