// SPDX-License-Identifier: Apache-2.0
//
// The transport of a connection that a server has accepted. Internal to the
// server library.
#ifndef LANECALL_ACCEPTED_TRANSPORT_H
#define LANECALL_ACCEPTED_TRANSPORT_H

#include <lanecall/caller.h>
#include <lanecall/stream_transport.h>

#include <utility>

namespace lanecall {

class AcceptedTransport : public StreamTransport {
 public:
  using StreamTransport::StreamTransport;

  const Caller& caller() const { return caller_; }
  void setCaller(Caller caller) { caller_ = std::move(caller); }

 protected:
  Peer peer() const override { return Peer::kClient; }

 private:
  Caller caller_;
};

}  // namespace lanecall

#endif
