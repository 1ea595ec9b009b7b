// SPDX-License-Identifier: Apache-2.0
#include <lanecall/command_line.h>
#include <lanecall/handler_errors.h>
#include <lanecall/log_field.h>
#include <lanecall/polling_server.h>
#include <lanecall/sandbox.h>
#include <lanecall/serve.h>
#include <lanecall/users.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/resource.h>
#include <thrift/TOutput.h>
#include <thrift/processor/TMultiplexedProcessor.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cerrno>
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

// What may be meant, and is a risk.
void warnOfProxyOnTcp(const ServerOptions& options, spdlog::logger& log) {
  if (!options.proxy) return;
  for (const std::string& address : options.listen)
    if (parseListenUri(address).scheme == Uri::Scheme::kTcp)
      log.warn(
          "event=unsafe at={} reason=\"with --proxy, whoever reaches this port "
          "can claim to be any user; give the device a Unix socket\"",
          address);
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
    finishCommandLine(app, line);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    return misused(argv[0], error.what());
  } catch (const std::invalid_argument& error) {
    return misused(argv[0], error.what());
  }

  auto log = makeLog(line.logLevel);
  adoptThriftOutput(log);
  warnOfProxyOnTcp(line.server, *log);
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
