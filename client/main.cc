// SPDX-License-Identifier: Apache-2.0
//
// lanecall: the command-line client. The same program over TCP, a Unix socket,
// or a PCIe device; --to says which.
#include <lanecall/device.h>
#include <lanecall/shell_memory.h>

#include <CLI/CLI.hpp>
#include <bit>
#include <cstdio>
#include <functional>
#include <optional>
#include <stdexcept>

#include "commands.h"
#include "random.h"
#include "stat_commands.h"
#include "virtine_demo.h"

namespace {

using namespace lanecall;

struct CommandLine {
  std::string to;
  ClientOptions options;
  int pings = 1;
  std::string text;
  std::uint32_t size = 0;
  std::optional<std::uint64_t> seed;
  std::int32_t number = 0;
  std::vector<std::int32_t> numbers;
  std::string file;
  VirtineDemoOptions demo;
  bool watch = false;
  std::function<int(Session&)> command;
  std::function<int()> local;  // instead of command: needs no server
  std::vector<const CLI::Option*> deviceOptions;  // of no effect elsewhere

  std::uint64_t seedOrFresh() const {
    return seed ? *seed : Random::freshSeed();
  }
};

// Why this is no size of a ring; empty if it is one.
std::string ringSizeError(const std::string& text) {
  constexpr std::uint32_t kLeast = 1u << LANECALL_RING_SHIFT_MIN;
  constexpr std::uint32_t kMost = 1u << LANECALL_RING_SHIFT_MAX;
  std::uint32_t bytes = 0;
  if (CLI::detail::lexical_cast(text, bytes) && std::has_single_bit(bytes) &&
      bytes >= kLeast && bytes <= kMost)
    return {};
  return "'" + text + "' is no power of two from " + std::to_string(kLeast) +
         " to " + std::to_string(kMost);
}

void addConnectionOptions(CLI::App& app, CommandLine& line) {
  ClientOptions& o = line.options;
  o.connectTimeoutMs = 10'000;
  o.receiveTimeoutMs = 60'000;
  o.sendTimeoutMs = 60'000;
  app.add_option("--to", line.to,
                 "Where the server is: tcp:host:port, unix:/path or "
                 "pcie:/dev/lanecall0")
      ->envname("LANECALL_TO");
  app.add_option_function<std::string>(
      "--protocol",
      [&o](const std::string& name) { o.protocol = parseProtocol(name); },
      "binary or compact [binary]");
  app.add_option_function<std::string>(
      "--framing",
      [&o](const std::string& name) { o.framing = parseFraming(name); },
      "buffered or framed [buffered]");
  auto bound = [&](const char* option, int& value, const char* text) {
    app.add_option(option, value, text)
        ->check(CLI::Range(0, 2'000'000'000))
        ->capture_default_str();
  };
  bound("--connect-timeout", o.connectTimeoutMs, "Milliseconds; 0: no limit");
  bound("--recv-timeout", o.receiveTimeoutMs, "Milliseconds; 0: no limit");
  bound("--send-timeout", o.sendTimeoutMs, "Milliseconds; 0: no limit");
  app.add_option_function<int>(
         "--max-message",
         [&o](int bytes) {
           o.limits.messageBytes = o.limits.stringBytes = bytes;
         },
         "Bytes in a message, either way [67108864]")
      ->check(CLI::Range(64, 2'000'000'000));
  app.add_option("--max-container", o.limits.containerItems,
                 "Items in a list, set or map that comes")
      ->check(CLI::Range(1, 2'000'000'000))
      ->capture_default_str();
}

void addDeviceOptions(CLI::App& app, CommandLine& line) {
  ClientOptions& o = line.options;
  auto ring = [&](const char* option, std::uint32_t& value, const char* text) {
    return app.add_option(option, value, text)
        ->check(CLI::Validator(ringSizeError, "BYTES"));
  };
  line.deviceOptions = {
      ring("--tx-ring", o.txRingBytes,
           "pcie: bytes of the ring to the device, a power of two"),
      ring("--rx-ring", o.rxRingBytes,
           "pcie: bytes of the ring from the device, a power of two"),
      app.add_option_function<std::string>(
          "--mode",
          [&o](const std::string& name) { o.mode = parseDeviceMode(name); },
          "pcie: auto, mapped or rw (through read and write) [auto]"),
      app.add_option_function<std::string>(
          "--spin", [&o](const std::string& text) { o.spin = parseSpin(text); },
          "pcie: look for the answer for so many microseconds before sleeping, "
          "or never, always, adaptive [adaptive]"),
      app.add_option("--moderate-bytes", o.moderateBytes,
                     "pcie: hold the interrupt for an answer back until so "
                     "many bytes have come ..."),
      app.add_option("--moderate-us", o.moderateUs,
                     "pcie: ... or so many microseconds after the first of "
                     "them [0: never hold back]")
          ->check(CLI::Range(0u, unsigned{LANECALL_MODERATE_US_MAX}))};
}

void addEduCommands(CLI::App& app, CommandLine& line) {
  auto* ping = app.add_subcommand("ping", "Call ping() and time it");
  ping->add_option("--count", line.pings,
                   "How often; Ctrl-C shows the times so far")
      ->check(CLI::Range(1, 10'000'000));
  ping->callback([&] {
    line.command = [&](Session& s) { return runPing(s, line.pings); };
  });

  auto* echo = app.add_subcommand("echo", "Send text, print what comes back");
  echo->add_option("TEXT", line.text)->required();
  echo->callback([&] {
    line.command = [&](Session& s) { return runEcho(s, line.text); };
  });

  app.add_subcommand("counter", "Print the server's counter")->callback([&] {
    line.command = [](Session& s) { return runCounter(s); };
  });

  auto* reflect = app.add_subcommand(
      "reflect", "Send random bytes, compare what comes back");
  reflect->add_option("--size", line.size, "How many bytes")->required();
  reflect->add_option("--seed", line.seed, "Of the random bytes");
  reflect->callback([&] {
    line.command = [&](Session& s) {
      return runReflect(s, line.size, line.seedOrFresh());
    };
  });

  auto* factorial = app.add_subcommand("factorial", "Print n!");
  factorial->add_option("N", line.number)->required();
  factorial->callback([&] {
    line.command = [&](Session& s) { return runFactorial(s, line.number); };
  });

  auto* scale = app.add_subcommand("scale", "Print every value times a factor");
  scale->add_option("FACTOR", line.number)->required();
  scale->add_option("VALUE", line.numbers);
  scale->callback([&] {
    line.command = [&](Session& s) {
      return runScale(s, line.number, line.numbers);
    };
  });

  auto* scaleRegion =
      app.add_subcommand("scale-region",
                         "Lend random numbers to the device, have the server "
                         "multiply them by DMA, "
                         "compare every one");
  // The server's own bounds are the same; a gigabyte need not be lent for that.
  scaleRegion->add_option("FACTOR", line.number, "2 to 4")
      ->required()
      ->check(CLI::Range(2, 4));
  scaleRegion
      ->add_option("--size", line.size,
                   "How many bytes, such as 4096, 64KiB or 4MiB; numbers take "
                   "4 each")
      ->required()
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(4U, 1U << 30));
  scaleRegion->add_option("--seed", line.seed, "Of the random numbers");
  scaleRegion->callback([&] {
    line.command = [&](Session& s) {
      return runScaleRegion(s, line.number, line.size, line.seedOrFresh());
    };
  });

  auto* note = app.add_subcommand("note", "Leave a line in the server's log");
  note->add_option("TEXT", line.text)->required();
  note->callback([&] {
    line.command = [&](Session& s) { return runNote(s, line.text); };
  });

  app.add_subcommand("check",
                     "ping, echo and counter as pci-edu does; says which path "
                     "each call took")
      ->callback(
          [&] { line.command = [](Session& s) { return runCheck(s); }; });
}

void addVirtineDemo(CLI::App& virtine, CommandLine& line) {
  auto* demo = virtine.add_subcommand(
      "demo",
      "Run functions in virtual machines that the server cleans between runs; "
      "the status is 1 if one of them finds what another has left, or if the "
      "server is lost");
  VirtineDemoOptions& o = line.demo;
  demo->add_option("--runs", o.runs,
                   "Of the function that looks for secrets, in shells of up to "
                   "1 MiB; fewer, the larger they are")
      ->check(CLI::Range(1u, 100'000'000u))
      ->capture_default_str();
  demo->add_option(
          "--size", o.sizes,
          "Of the shells' memory, such as 64KiB or 4MiB; more than one "
          "may be given [64KiB to 16MiB]")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(kShellBytesLeast, kShellBytesMost));
  demo->add_option_function<std::string>(
      "--shells",
      [&o](const std::string& name) { o.shells = parseShellKind(name); },
      "kvm, plain (memory only) or auto [auto: kvm where it is there]");
  demo->add_flag("!--no-clean", o.clean,
                 "Clean nothing, so that the secrets must be found");
  demo->callback([&] {
    line.command = [&](Session& s) {
      line.demo.connection = line.options;
      return runVirtineDemo(s, line.demo);
    };
  });
}

void addVirtineCommands(CLI::App& app, CommandLine& line) {
  auto* virtine = app.add_subcommand("virtine", "The clean-up of virtines");
  auto* clean = virtine->add_subcommand(
      "clean",
      "Register FILE as snapshot, dirty a copy at random, have it cleaned, "
      "compare every byte");
  clean->add_option("FILE", line.file)->required();
  clean->add_option("--seed", line.seed, "Of what is dirtied; printed");
  clean->callback([&] {
    line.command = [&](Session& s) {
      return runVirtineClean(s, line.file, line.seedOrFresh());
    };
  });
  addVirtineDemo(*virtine, line);
}

void addStatCommand(CLI::App& app, CommandLine& line) {
  auto* stat = app.add_subcommand(
      "stat", "What the driver counts of this machine's pcie channels");
  stat->add_flag("--watch", line.watch,
                 "Print how often a second, each second, until Ctrl-C");
  stat->footer(kStatColumns);
  stat->callback([&] { line.local = [&line] { return runStat(line.watch); }; });
}

std::string joined(const std::vector<std::string>& words, const char* by) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : by) + word;
  return text;
}

// The command that was given, as it was: "lanecall virtine clean".
std::string commandIn(const CLI::App& app) {
  std::string command = "lanecall";
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    command += " " + at->get_name();
  }
  return command;
}

// "--mode" of "--mode=rw", and of "--mode: what is wrong with it".
std::string optionIn(const std::string& text) {
  const std::size_t from = text.find("--");
  if (from == std::string::npos) return {};
  return text.substr(from, text.find_first_of("=: ", from) - from);
}

// Of the program itself, not of a command.
bool is_own_option(const CLI::App& app, const std::string& name) {
  return !name.empty() && app.get_option_no_throw(name) != nullptr;
}

// One line for an error of the command line itself; returns the exit status.
int misused(const std::string& asked, const std::string& what) {
  std::fprintf(stderr, "lanecall: %s; see %s --help\n", what.c_str(),
               asked.c_str());
  return 2;
}

// An option of the program's own after the command, and what to write instead;
// empty if there is none.
std::string misplaced(const CLI::App& app) {
  const std::vector<std::string> left = app.remaining(true);
  for (std::size_t i = 0; i < left.size(); ++i) {
    const std::string name = optionIn(left[i]);
    if (!left[i].starts_with(name) || !is_own_option(app, name)) continue;
    std::string words = left[i];
    if (words == name && i + 1 < left.size()) words += " " + left[i + 1];
    std::string instead = commandIn(app);
    instead.insert(instead.find(' ') + 1, words.append(" "));
    return std::string(name)
        .append(" goes before the command: ")
        .append(instead);
  }
  return {};
}

int misparsed(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> left = app.remaining();
  if (app.get_subcommands().empty() && !left.empty())
    return misused("lanecall",
                   "unknown command or option '" + left.front() + "'");
  if (const std::string text = misplaced(app); !text.empty())
    return misused("lanecall", text);
  if (dynamic_cast<const CLI::ExtrasError*>(&error))
    return misused(left.empty() ? commandIn(app) : "lanecall",
                   "not expected: " + joined(app.remaining(true), " "));
  const bool own = is_own_option(app, optionIn(error.what()));
  return misused(own ? "lanecall" : commandIn(app), error.what());
}

// They may stand there for the next --to; but nobody should wonder.
void sayWhatHasNoEffect(const CommandLine& line) {
  if (line.to.starts_with("pcie:")) return;
  std::vector<std::string> names;
  for (const CLI::Option* option : line.deviceOptions)
    if (option->count() > 0) names.push_back(option->get_name());
  if (!names.empty())
    std::fprintf(stderr, "lanecall: no effect over %s, only over pcie: %s\n",
                 line.to.c_str(), joined(names, ", ").c_str());
}

int flushed(int status) {
  if (std::fflush(stdout) != 0) {
    std::perror("lanecall: standard output");
    return 1;
  }
  return status;
}

int runLocal(const CommandLine& line) try {
  return flushed(line.local());
} catch (const std::exception& error) {
  std::fprintf(stderr, "lanecall: %s\n", error.what());
  return 1;
}

int run(const CommandLine& line) try {
  sayWhatHasNoEffect(line);
  Session session(line.to, line.options);
  return flushed(line.command(session));
} catch (const std::exception& error) {
  std::fflush(stdout);
  std::fprintf(stderr, "lanecall: %s\n",
               describeFailure(error, line.to, line.options).c_str());
  return is_bad_address(error) ? 2 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Calls a Lanecall server over TCP, a Unix socket or PCIe.");
  CommandLine line;
  app.set_version_flag("--version", "lanecall " LANECALL_PROJECT_VERSION);
  addConnectionOptions(app, line);
  addDeviceOptions(app, line);
  addEduCommands(app, line);
  addVirtineCommands(app, line);
  addStatCommand(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0)
      return app.exit(error);  // --help, --version
    return misparsed(app, error);
  } catch (const std::invalid_argument& error) {  // of the program's options
    return misused("lanecall", error.what());
  }
  if (line.local) return runLocal(line);
  // Not before the words that are there: a wrong one is the better news.
  if (!line.command) return misused(commandIn(app), "a command is missing");
  if (line.to.empty())
    return misused("lanecall",
                   "where is the server? Give --to tcp:host:port, unix:/path "
                   "or pcie:/dev/lanecall0");
  return run(line);
}
