// SPDX-License-Identifier: Apache-2.0
#include <lanecall/mapped_io.h>
#include <sys/mman.h>

#include <cerrno>

namespace lanecall {

int errnoOfStatus(std::uint32_t status) {
  switch (LANECALL_ERROR(status)) {
    case LANECALL_ERR_NONE:
      return 0;
    case LANECALL_ERR_REFUSED:
      return ECONNREFUSED;
    case LANECALL_ERR_UNREACHABLE:
      return EHOSTUNREACH;
    case LANECALL_ERR_TIMED_OUT:
      return ETIMEDOUT;
    case LANECALL_ERR_RESET:
      return ECONNRESET;
    case LANECALL_ERR_ACCESS:
      return EACCES;
    case LANECALL_ERR_RESOURCES:
      return ENOBUFS;
    default:
      return EIO;
  }
}

int endOfChannel(const lanecall_index_page& page) {
  if (lanecall_get32(&page.gone)) return -EIO;
  const std::uint32_t status = lanecall_get32(&page.status);
  lanecall_rmb();  // whoever has read ENDED finds the last head
  switch (LANECALL_STATE(status)) {
    case LANECALL_RUNNING:
      return 0;
    case LANECALL_ENDED: {
      const int error = errnoOfStatus(status);
      return error ? -error : -ESHUTDOWN;
    }
    default:
      return -EIO;  // nothing that a device would say now
  }
}

int MappedIo::status() {
  if (status_) return 0;
  if (int outcome = node_->status()) return outcome;
  lanecall_mapping layout{};
  if (int error = node_->map(&layout))
    return error == -EAGAIN || error == -EINTR ? -EINPROGRESS : error;
  const int error = map(layout);
  // Only the kernel's choice of another mode may say this.
  return error == -EOPNOTSUPP ? -EIO : error;
}

int MappedIo::map(const lanecall_mapping& layout) {
  constexpr int kRead = PROT_READ;
  constexpr int kBoth = PROT_READ | PROT_WRITE;
  auto page = [&](Mapping& part, std::uint64_t offset, int protection) {
    return part.map(node_->descriptor(), static_cast<off_t>(offset),
                    layout.page_bytes, protection);
  };
  // The kernel shows a ring of twice its length as the same bytes twice.
  auto ring = [&](Mapping& part, std::uint64_t offset, std::uint32_t bytes,
                  int protection) {
    return part.map(node_->descriptor(), static_cast<off_t>(offset),
                    std::size_t{2} * bytes, protection);
  };
  int error = 0;
  if ((error = page(statusPage_, layout.status_offset, kBoth)) ||
      (error = page(indexPage_, layout.index_offset, kBoth)) ||
      (error = page(doorbell_, layout.doorbell_offset, PROT_WRITE)) ||
      (error = ring(tx_, layout.tx_offset, layout.tx_bytes, kBoth)) ||
      (error = ring(rx_, layout.rx_offset, layout.rx_bytes, kRead)))
    return error;
  auto* words = reinterpret_cast<lanecall_index_page*>(indexPage_.data());
  lanecall_ring_init(&outgoing_.core, &words->tx_producer, &words->tx_consumer,
                     layout.tx_bytes);
  lanecall_ring_init(&incoming_.core, &words->rx_producer, &words->rx_consumer,
                     layout.rx_bytes);
  outgoing_.bytes = tx_.data();
  incoming_.bytes = rx_.data();
  status_ = reinterpret_cast<const lanecall_index_page*>(statusPage_.data());
  outgoing_.counters = countersAt(LANECALL_USER_COUNTERS_TX);
  incoming_.counters = countersAt(LANECALL_USER_COUNTERS_RX);
  return 0;
}

lanecall_user_counters* MappedIo::countersAt(std::size_t offset) const {
  return reinterpret_cast<lanecall_user_counters*>(statusPage_.data() + offset);
}

void MappedIo::notify() {
  // What it announces is before it: publish and release end with a barrier.
  *reinterpret_cast<volatile std::uint32_t*>(doorbell_.data()) = 1;
}

void MappedIo::close() {
  node_->close();
  status_ = nullptr;
  for (Mapping* part : {&statusPage_, &indexPage_, &doorbell_, &tx_, &rx_})
    part->reset();
}

}  // namespace lanecall
