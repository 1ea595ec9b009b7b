// SPDX-License-Identifier: Apache-2.0
#include <lanecall/accepted_transport.h>
#include <lanecall/caller.h>
#include <lanecall/card_transport.h>
#include <lanecall/proxy.h>

#include <cctype>

namespace lanecall {
namespace {

std::string orUnknown(const std::optional<std::uint32_t>& number) {
  return number ? std::to_string(*number) : "?";
}

bool is_plain(char character) {
  return std::isalnum(static_cast<unsigned char>(character)) ||
         std::string_view("._:-").find(character) != std::string_view::npos;
}

}  // namespace

std::string Caller::str() const {
  return "device=" + (device.empty() ? "?" : device) +
         " channel=" + orUnknown(channel) + " uid=" + orUnknown(uid);
}

std::string deviceWord(std::string_view name) {
  std::string word(name.substr(0, LANECALL_PROXY_DEVICE_MAX));
  for (char& character : word)
    if (!is_plain(character)) character = '_';
  return word;
}

Caller callerOf(
    const std::shared_ptr<apache::thrift::transport::TTransport>& transport) {
  if (const auto card = std::dynamic_pointer_cast<CardTransport>(transport))
    return card->channel().caller();
  const auto socket = std::dynamic_pointer_cast<AcceptedTransport>(transport);
  return socket ? socket->caller() : Caller();
}

}  // namespace lanecall
