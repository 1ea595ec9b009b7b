// SPDX-License-Identifier: Apache-2.0
//
// A card port as a Thrift server transport: any of Thrift's server classes
// (TThreadedServer, TSimpleServer, TThreadPoolServer) serves a card with it.
// Each channel that a client opens is accepted as a CardTransport, which
// buffers and frames by itself: give the server Thrift's plain
// TTransportFactory, and a protocol factory (lanecall::protocolFactory).
#ifndef LANECALL_CARD_SERVER_TRANSPORT_H
#define LANECALL_CARD_SERVER_TRANSPORT_H

#include <lanecall/card_port.h>
#include <lanecall/card_transport.h>
#include <lanecall/limits.h>
#include <lanecall/wake.h>
#include <thrift/transport/TServerTransport.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace lanecall {

class TCardServerTransport
    : public apache::thrift::transport::TServerTransport {
 public:
  // address: "unix:/path". Listens from listen() on.
  explicit TCardServerTransport(std::string address, Limits limits = {},
                                Framing framing = Framing::kBuffered,
                                std::shared_ptr<spdlog::logger> log = nullptr);
  ~TCardServerTransport() override;

  // Before listen(). As RingTransport's, for channels accepted from now on.
  void setSendTimeout(int ms) { sendTimeoutMs_ = ms; }
  void setRecvTimeout(int ms) { recvTimeoutMs_ = ms; }
  void setSpin(Spin spin) { spin_ = spin; }
  // As CardPortOptions::buffersPercent.
  void setCardBuffers(int percent) { cardBuffers_ = percent; }

  bool isOpen() const override;
  void listen() override;
  // Ends accept() with INTERRUPTED, once; the next, if none is under way, but
  // not after another listen(). Any thread.
  void interrupt() override;
  // Ends every wait of what was and will be accepted with INTERRUPTED, until
  // listen(). Any thread.
  void interruptChildren() override;
  // Devices find nobody; channels accepted go on until they are closed. Not
  // while another thread is in accept().
  void close() override;

 protected:
  std::shared_ptr<apache::thrift::transport::TTransport> acceptImpl() override;

 private:
  std::shared_ptr<CardTransport> adopt(std::unique_ptr<CardChannel> channel);

  const std::string address_;
  const Limits limits_;
  const Framing framing_;
  const std::shared_ptr<spdlog::logger> log_;
  int sendTimeoutMs_ = 0;
  int recvTimeoutMs_ = 0;
  Spin spin_ = Spin::adaptive();
  int cardBuffers_ = CardPortOptions().buffersPercent;
  Wake interrupt_;
  std::unique_ptr<CardPort> port_;
  bool listening_ = false;

  std::mutex mutex_;  // guards both below
  bool childrenInterrupted_ = false;
  std::vector<std::weak_ptr<CardTransport>> children_;
};

}  // namespace lanecall

#endif
