// SPDX-License-Identifier: Apache-2.0
#include "channel.h"

#include <lanecall/uri.h>

#include <charconv>
#include <map>
#include <optional>
#include <stdexcept>
#include <vector>

namespace lanecall::bench {
namespace {

using Kind = Channel::Kind;

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

std::uint32_t parseNumber(const std::string& text) {
  std::uint32_t number = 0;
  const char* const last = text.data() + text.size();
  auto [end, error] = std::from_chars(text.data(), last, number);
  if (error != std::errc() || end != last)
    throw std::invalid_argument("'" + text + "' is no number");
  return number;
}

// What follows the name, up to the options.
void parseAddress(const std::string& text, Channel& channel) {
  const std::size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const std::string rest =
      colon == std::string::npos ? std::string() : text.substr(colon + 1);
  if (text == "memory:") return;
  if (kind == "serial") {
    if (rest.empty()) throw std::invalid_argument("use serial:/dev/PORT");
    channel.kind = Kind::kSerial;
    channel.address = rest;
    return;
  }
  if (kind != "tcp" && kind != "unix" && kind != "pcie")
    throw std::invalid_argument(
        "'" + text +
        "': unknown kind; use pcie:, tcp:, unix:, serial: or "
        "memory:");
  const Uri uri = parseUri(text);
  channel.kind = uri.scheme == Uri::Scheme::kTcp    ? Kind::kTcp
                 : uri.scheme == Uri::Scheme::kUnix ? Kind::kUnix
                                                    : Kind::kPcie;
  channel.address = uri.scheme == Uri::Scheme::kTcp ? uri.host : uri.path;
  channel.port = uri.port;
}

bool is_stream(Kind kind) {
  return kind == Kind::kTcp || kind == Kind::kUnix || kind == Kind::kSerial;
}

// Whether there is such an option for channels of this kind.
bool setOption(const std::string& key, const std::string& value,
               Channel& channel) {
  const bool isPcie = channel.kind == Kind::kPcie;
  if (key == "framing" && channel.kind != Kind::kMemory)
    channel.framing = parseFraming(value);
  else if (key == "buffer" && is_stream(channel.kind))
    channel.bufferBytes = parseNumber(value);
  else if (key == "ports" && channel.kind == Kind::kSerial)
    channel.ports = static_cast<int>(parseNumber(value));
  else if (key == "mode" && isPcie)
    channel.mode = parseDeviceMode(value);
  else if (key == "spin" && isPcie)
    channel.spin = parseSpin(value);
  else if (key == "ring" && isPcie)
    channel.ringBytes = parseNumber(value);
  else
    return false;
  return true;
}

Channel parse(const std::string& text) {
  const std::vector<std::string> words = split(text, ',');
  const std::size_t equals = words[0].find('=');
  if (equals == 0 || equals == std::string::npos)
    throw std::invalid_argument("use NAME=KIND:ADDRESS[,option=value...]");
  Channel channel;
  channel.name = words[0].substr(0, equals);
  parseAddress(words[0].substr(equals + 1), channel);
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::size_t at = words[i].find('=');
    if (at == std::string::npos ||
        !setOption(words[i].substr(0, at), words[i].substr(at + 1), channel))
      throw std::invalid_argument("'" + words[i] +
                                  "': no option of this kind of channel");
  }
  return channel;
}

}  // namespace

Channel parseChannel(const std::string& text) try {
  return parse(text);
} catch (const std::invalid_argument& error) {
  throw std::invalid_argument("--channel " + text + ": " + error.what());
}

std::string uriOf(const Channel& channel) {
  using Scheme = Uri::Scheme;
  switch (channel.kind) {
    case Kind::kPcie:
      return Uri{Scheme::kPcie, {}, 0, channel.address}.str();
    case Kind::kTcp:
      return Uri{Scheme::kTcp, channel.address, channel.port, {}}.str();
    case Kind::kUnix:
      return Uri{Scheme::kUnix, {}, 0, channel.address}.str();
    default:
      throw std::invalid_argument(
          "this is for channels of kind pcie, tcp and unix");
  }
}

}  // namespace lanecall::bench
