// SPDX-License-Identifier: Apache-2.0
#include <lanecall/become_user.h>
#include <lanecall/card_port.h>
#include <lanecall/handler_errors.h>
#include <lanecall/log_field.h>
#include <lanecall/polling_server.h>
#include <lanecall/sandbox.h>
#include <lanecall/serve.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/resource.h>
#include <thrift/TOutput.h>
#include <thrift/processor/TMultiplexedProcessor.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <future>
#include <optional>
#include <stdexcept>
#include <system_error>

namespace lanecall {
namespace {

// The servers of one program: of sockets, of cards, or both.
class Servers {
 public:
  Servers(const ServerOptions& options, const ProcessorMaker& maker,
          const std::shared_ptr<spdlog::logger>& log) {
    if (!options.listen.empty())
      sockets_ = std::make_unique<Server>(options, maker, log);
    if (!options.card.empty())
      cards_ = std::make_unique<PollingServer>(options, maker, log);
  }

  std::vector<std::string> addresses() const {
    std::vector<std::string> all;
    if (sockets_) all = sockets_->addresses();
    if (cards_)
      for (std::string& address : cards_->addresses())
        all.push_back(std::move(address));
    return all;
  }

  // Until stop(); false if a handler still runs.
  bool serve() {
    if (!sockets_) return cards_->serve();
    if (!cards_) return sockets_->serve();
    auto cards = std::async(std::launch::async, [this] {
      try {
        return cards_->serve();
      } catch (...) {
        sockets_->stop();
        throw;
      }
    });
    try {
      const bool all = sockets_->serve();
      return cards.get() && all;
    } catch (...) {
      cards_->stop();  // else the future would wait for it
      throw;
    }
  }

  // From a signal handler, too.
  void stop() {
    if (sockets_) sockets_->stop();
    if (cards_) cards_->stop();
  }

 private:
  std::unique_ptr<Server> sockets_;
  std::unique_ptr<PollingServer> cards_;
};

std::atomic<Servers*> toStop{nullptr};
static_assert(std::atomic<Servers*>::is_always_lock_free);

void onSignal(int) {
  const int saved = errno;
  if (Servers* servers = toStop.load()) servers->stop();
  errno = saved;
}

void catchSignals(Servers& servers) {
  toStop = &servers;
  struct sigaction action = {};
  action.sa_handler = onSignal;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  // A reader of our output that goes away must not end the server.
  ::signal(SIGPIPE, SIG_IGN);
}

// A channel of a card takes three descriptors or more; the usual limit is there
// for programs that use select().
void raiseDescriptorLimit() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::shared_ptr<spdlog::logger> makeLog(const std::string& level) {
  auto log = std::make_shared<spdlog::logger>(
      "lanecall", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  log->set_pattern("time=%Y-%m-%dT%H:%M:%S.%e%z level=%l %v");
  log->set_level(spdlog::level::from_str(level));
  log->flush_on(spdlog::level::trace);
  return log;
}

// Thrift's library prints to standard error on its own; give it our form.
void adoptThriftOutput(const std::shared_ptr<spdlog::logger>& log) {
  static std::shared_ptr<spdlog::logger> to;
  to = log;
  apache::thrift::GlobalOutput.setOutputFunction([](const char* text) {
    to->debug("event=thrift text=\"{}\"", logField(text));
  });
}

ProcessorMaker multiplex(std::vector<Service> services,
                         std::shared_ptr<spdlog::logger> log) {
  if (services.empty()) throw std::invalid_argument("no service to serve");
  return [services = std::move(services), log = std::move(log)](
             const apache::thrift::TConnectionInfo& connection) {
    auto all = std::make_shared<apache::thrift::TMultiplexedProcessor>();
    for (const Service& service : services) {
      auto processor = service.make(connection);
      // The multiplexing one does not hear of them.
      logHandlerErrors(*processor, log);
      if (&service == &services.front()) all->registerDefault(processor);
      all->registerProcessor(service.name, processor);
    }
    return all;
  };
}

// One address a line, then end of file: an event a parent can wait for.
void announce(int fd, const std::vector<std::string>& addresses) {
  if (fd < 0) return;
  std::string text;
  for (const std::string& address : addresses) text += address + "\n";
  for (std::size_t at = 0; at < text.size();) {
    ssize_t put = ::write(fd, text.data() + at, text.size() - at);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0)
      throw std::system_error(errno, std::generic_category(),
                              "--ready-fd " + std::to_string(fd));
    at += static_cast<std::size_t>(put);
  }
  ::close(fd);
}

struct CommandLine {
  ServerOptions server;
  int maxString = 0;  // 0: not given
  int readyFd = -1;
  std::string logLevel = "info";
  std::string user;  // empty: stay who we are
  bool sandbox = false;
};

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
  app.add_option("--allow-uid", server.access.uids,
                 "Only this user's programs may connect to Unix sockets; any "
                 "number")
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
                 "Started as root: become this user, before anything else");
  app.add_flag("--sandbox,!--no-sandbox", line.sandbox,
               std::string("Give up, or keep, all privileges and system calls "
                           "that answering calls does not take [") +
                   (line.sandbox ? "--sandbox]" : "--no-sandbox]"));
}

// Where sockets' files come and go.
std::vector<std::string> socketFolders(const ServerOptions& options) {
  std::vector<std::string> folders;
  auto add = [&](const std::string& address) {
    const Uri uri = parseListenUri(address);
    if (uri.scheme != Uri::Scheme::kUnix) return;
    std::string folder = std::filesystem::path(uri.path).parent_path();
    folders.push_back(folder.empty() ? "." : folder);
  };
  for (const std::string& address : options.listen) add(address);
  for (const std::string& address : options.card) add(address);
  return folders;
}

// Its first part: before there are threads, and so before the sockets.
std::optional<Sandbox> makeSandbox(const CommandLine& line) {
  if (!line.user.empty()) becomeUser(line.user);
  if (!line.sandbox) return {};
  ::tzset();  // reads a file, which the log would do later
  return Sandbox(socketFolders(line.server));
}

void closeSandbox(const Sandbox& sandbox, spdlog::logger& log) {
  const bool removes = sandbox.close();
  log.info("event=sandboxed landlock={} removes_sockets={}",
           sandbox.guardsFiles(), removes);
}

// A socket that is told of nobody would serve nobody, or anybody.
void checkPolicy(const ServerOptions& options) {
  if (!options.policy.isEmpty() && !options.listen.empty() && !options.proxy)
    throw std::invalid_argument(
        "--allow and --deny: with --listen, give --proxy, too, or nobody is "
        "known there");
}

// One line for an error of the command line itself; returns the exit status.
int misused(const char* program, const char* what) {
  std::fprintf(stderr, "%s: %s; see %s --help\n", program, what, program);
  return 2;
}

int run(int argc, char** argv, const ServerProgram& program) {
  CommandLine line;
  line.sandbox = program.sandbox;
  CLI::App app(program.description);
  addServerOptions(app, line);
  if (program.addOptions) program.addOptions(app);
  try {
    app.parse(argc, argv);
    for (const std::string& address : line.server.listen)
      parseListenUri(address);
    for (const std::string& address : line.server.card) parseCardUri(address);
    if (line.server.listen.empty() && line.server.card.empty())
      line.server.listen.push_back("tcp:127.0.0.1:9090");
    checkPolicy(line.server);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return misused(argv[0], error.what());
  } catch (const std::invalid_argument& error) {
    return misused(argv[0], error.what());
  }
  Limits& limits = line.server.limits;
  limits.stringBytes = line.maxString ? line.maxString : limits.messageBytes;

  auto log = makeLog(line.logLevel);
  adoptThriftOutput(log);
  raiseDescriptorLimit();
  const std::optional<Sandbox> sandbox = makeSandbox(line);
  Servers servers(line.server,
                  multiplex(program.makeServices(line.server), log), log);
  catchSignals(servers);
  if (sandbox) closeSandbox(*sandbox, *log);
  if (program.onReady) program.onReady();
  for (const std::string& address : servers.addresses())
    log->info("event=listening at={} protocol={} framing={}", address,
              name(line.server.protocol), name(line.server.framing));
  announce(line.readyFd, servers.addresses());
  bool all = servers.serve();
  toStop = nullptr;
  log->info("event=stopped");
  if (all) return 0;
  log->error("event=abandoned reason=\"a handler still runs\"");
  // Its thread uses what returning from main would destroy.
  std::fflush(nullptr);
  std::_Exit(1);
}

}  // namespace

int serve(int argc, char** argv, const ServerProgram& program) try {
  return run(argc, argv, program);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
  return 1;
}

int serve(int argc, char** argv, const std::string& name,
          std::shared_ptr<apache::thrift::TProcessor> processor) {
  ServerProgram program;
  program.description = "Serves " + name + " over Thrift.";
  program.makeServices = [&](const ServerOptions&) {
    return std::vector<Service>{
        {name, [processor](const auto&) { return processor; }}};
  };
  return serve(argc, argv, program);
}

}  // namespace lanecall
