// SPDX-License-Identifier: Apache-2.0
#include <lanecall/card_port.h>
#include <lanecall/command_line.h>
#include <lanecall/users.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <initializer_list>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace lanecall {
namespace {

// 0600 and the like.
mode_t parseMode(const std::string& text) {
  unsigned mode = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, mode, 8);
  if (error != std::errc() || at != end || mode > 0777)
    throw std::invalid_argument("--socket-mode '" + text +
                                "': not an octal number up to 0777");
  return mode;
}

// Of options that do nothing without what is not there.
void refuse(const CLI::App& app, std::initializer_list<const char*> options,
            const std::string& without) {
  for (const char* option : options)
    if (app.count(option))
      throw std::invalid_argument(option + (": there is " + without) +
                                  "; leave it out, or give one");
}

}  // namespace

void addServerOptions(CLI::App& app, CommandLine& line) {
  ServerOptions& server = line.server;
  app.add_option("--listen", server.listen,
                 "Where to listen: tcp:host:port (port 0 takes a free one) or "
                 "unix:/path; any number [tcp:127.0.0.1:9090, if there is no "
                 "--card]")
      ->take_all();
  app.add_option("--card", server.card,
                 "Where to be the firmware of devices' cards (QEMU: -device "
                 "edu,card=unix:/path): unix:/path; any number")
      ->take_all();
  app.add_option_function<std::string>(
      "--socket-mode",
      [&server](const std::string& text) {
        server.access.mode = parseMode(text);
      },
      "Of the files of Unix sockets, of --listen and --card: who may connect "
      "[0600]");
  app.add_option_function<std::vector<std::string>>(
         "--allow-uid",
         [&server](const std::vector<std::string>& all) {
           for (const std::string& user : all)
             server.access.uids.push_back(userNumber(user));
         },
         "Only programs of this user, by number or name, may connect to Unix "
         "sockets; any number")
      ->take_all();
  app.add_flag("--proxy", server.proxy,
               "Connections of --listen begin with a PROXY header, which tells "
               "who opened the channel (QEMU: -device edu,proxy=on)");
  auto rules = [&](const char* option, auto add, const char* text) {
    app.add_option_function<std::vector<std::string>>(
           option,
           [&server, add](const std::vector<std::string>& all) {
             for (const std::string& rule : all) (server.policy.*add)(rule);
           },
           text)
        ->take_all();
  };
  rules("--allow", &Policy::allow,
        "Serve only channels that are so: device=NAME,channel=N,uid=N or some "
        "of these; any number");
  rules("--deny", &Policy::deny,
        "Serve no channels that are so; goes before --allow; any number");
  app.add_option_function<std::string>(
      "--protocol",
      [&server](const std::string& name) {
        server.protocol = parseProtocol(name);
      },
      "binary or compact [binary]");
  app.add_option_function<std::string>(
      "--framing",
      [&server](const std::string& name) {
        server.framing = parseFraming(name);
      },
      "buffered or framed [buffered]");
  auto count = [&](const char* option, int& value, int least, int most,
                   const char* text) {
    app.add_option(option, value, text)
        ->check(CLI::Range(least, most))
        ->capture_default_str();
  };
  constexpr int kMost = 2'000'000'000;
  count("--max-connections", server.maxConnections, 1, 100'000,
        "Connections at a time; one more is closed at once");
  count("--card-threads", server.cardThreads, 1, 1000,
        "Short calls of cards' channels that run at the same time; one that "
        "takes long has a thread of its own in any case");
  count("--card-buffers", server.cardBuffers, 0, 100,
        "Percent of a card's memory that buffers for DMA may take; the rest is "
        "there for rings");
  app.add_option_function<std::string>(
      "--spin",
      [&server](const std::string& name) { server.spin = parseSpin(name); },
      "How long to look for calls of cards' channels before sleeping: never, "
      "always, adaptive, or microseconds [adaptive]");
  count("--max-message", server.limits.messageBytes, 64, kMost,
        "Bytes in a message, either way");
  app.add_option("--max-string", line.maxString,
                 "Bytes in a string or binary [as --max-message]")
      ->check(CLI::Range(64, kMost));
  count("--max-container", server.limits.containerItems, 1, kMost,
        "Items in a list, set or map");
  count("--max-depth", server.limits.depth, 1, 1000, "Structs in structs");
  count("--idle-timeout", server.idleTimeoutMs, 0, kMost,
        "Milliseconds a connection may be idle; 0: for ever");
  count("--message-timeout", server.messageTimeoutMs, 0, kMost,
        "Milliseconds from a message's first byte to its last; 0: no limit");
  count("--send-timeout", server.sendTimeoutMs, 0, kMost,
        "Milliseconds a client may take to accept an answer; 0: no limit");
  count("--stop-timeout", server.stopTimeoutMs, 0, kMost,
        "Milliseconds that running calls get on SIGTERM; 0: no limit");
  app.add_option("--ready-fd", line.readyFd,
                 "Descriptor that gets the addresses, one a line, and is then "
                 "closed, when clients may connect");
  app.add_option("--log-level", line.logLevel,
                 "Least level logged to standard error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}))
      ->capture_default_str();
  app.add_option("--user", line.user,
                 "Started as root: become this user, by number or name, before "
                 "anything else");
  app.add_flag("--sandbox,!--no-sandbox", line.sandbox,
               std::string("Give up, or keep, all privileges and system calls "
                           "that answering calls does not take [") +
                   (line.sandbox ? "--sandbox]" : "--no-sandbox]"));
}

void finishCommandLine(const CLI::App& app, CommandLine& line) {
  ServerOptions& server = line.server;
  if (server.listen.empty() && server.card.empty())
    server.listen.push_back("tcp:127.0.0.1:9090");
  bool isUnix = !server.card.empty();
  for (const std::string& address : server.listen)
    isUnix |= parseListenUri(address).scheme == Uri::Scheme::kUnix;
  for (const std::string& address : server.card) parseCardUri(address);

  if (!isUnix) refuse(app, {"--socket-mode"}, "no Unix socket");
  if (server.listen.empty()) refuse(app, {"--proxy"}, "no --listen");
  if (server.card.empty())
    refuse(app, {"--card-threads", "--card-buffers", "--spin"}, "no --card");
  // A socket that is told of nobody would serve nobody, or anybody.
  if (!server.policy.isEmpty() && !server.listen.empty() && !server.proxy)
    throw std::invalid_argument(
        "--allow and --deny: with --listen, give --proxy, too, or nobody is "
        "known there");

  Limits& limits = server.limits;
  limits.stringBytes = line.maxString ? line.maxString : limits.messageBytes;
}

}  // namespace lanecall
