// SPDX-License-Identifier: Apache-2.0
#include <grp.h>
#include <lanecall/users.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <stdexcept>
#include <system_error>

namespace lanecall {
namespace {

std::optional<uid_t> parseNumber(const std::string& text) {
  uid_t number = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  // The greatest stands for nobody in the kernel's calls.
  if (error != std::errc() || at != end || number == uid_t(-1)) return {};
  return number;
}

// By number or name. Null, and why, if there is none.
const passwd* findUser(const std::string& text, std::string* why) {
  const std::optional<uid_t> number = parseNumber(text);
  errno = 0;
  // There are no other threads yet.
  // NOLINTNEXTLINE(concurrency-mt-unsafe)
  const passwd* user = number ? ::getpwuid(*number) : ::getpwnam(text.c_str());
  // These stand for none, too, says getpwnam(3).
  const bool isNone = errno == 0 || errno == ENOENT || errno == ESRCH ||
                      errno == EBADF || errno == EPERM;
  if (!user && !isNone)
    *why = std::generic_category().message(errno) +
           "; see how this machine looks users up";
  else if (!user)
    *why = "there is none; make one, or name another";
  return user;
}

[[noreturn]] void fail(const std::string& name, const std::string& why) {
  throw std::runtime_error("cannot become user " + name + ": " + why);
}

}  // namespace

uid_t userNumber(const std::string& text) {
  if (const std::optional<uid_t> number = parseNumber(text)) return *number;
  std::string why;
  if (const passwd* user = findUser(text, &why)) return user->pw_uid;
  throw std::invalid_argument("user '" + text + "': " + why);
}

void becomeUser(const std::string& name) {
  std::string why;
  const passwd* user = findUser(name, &why);
  if (!user) fail(name, why);
  const gid_t group = user->pw_gid;
  const uid_t id = user->pw_uid;
  // In this order: who is somebody else cannot change groups any more.
  if (::setgroups(0, nullptr) < 0 || ::setresgid(group, group, group) < 0 ||
      ::setresuid(id, id, id) < 0)
    fail(name, std::generic_category().message(errno) +
                   "; start as root, or as that user without --user");
}

}  // namespace lanecall
