// SPDX-License-Identifier: Apache-2.0
#include <lanecall/virtine_pool.h>
#include <lanecall/virtine_pool_core.h>

#include <utility>

namespace lanecall {

using Lease = VirtinePool::Lease;

Lease::Lease() noexcept = default;
Lease::Lease(Lease&& other) noexcept = default;

Lease::Lease(std::shared_ptr<VirtinePoolCore> pool,
             std::unique_ptr<PooledShell> shell)
    : pool_(std::move(pool)), shell_(std::move(shell)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(shell_, other.shell_);
  Lease ended(std::move(other));
  return *this;
}

Lease::~Lease() {
  if (!shell_) return;
  shell_->setAllDirty();
  pool_->release(std::move(shell_));
}

Shell& Lease::operator*() const { return shell_->shell(); }

VirtinePool::VirtinePool(Maker maker, Connector connector,
                         VirtinePoolOptions options)
    : core_(std::make_shared<VirtinePoolCore>(
          std::move(maker), std::move(connector), std::move(options))) {}

VirtinePool::~VirtinePool() { core_->close(); }

Lease VirtinePool::acquire(int timeoutMs) {
  auto shell = core_->acquire(timeoutMs);
  return shell ? Lease(core_, std::move(shell)) : Lease();
}

void VirtinePool::release(Lease&& lease) { Lease ended(std::move(lease)); }

void VirtinePool::release(Lease&& lease, std::vector<virtine::Extent> dirty) {
  lease.shell_->setDirty(std::move(dirty));
  lease.pool_->release(std::move(lease.shell_));
  lease.pool_.reset();
}

void VirtinePool::reconnect() { core_->reconnect(); }

VirtinePoolCounters VirtinePool::counters() const { return core_->counters(); }

}  // namespace lanecall
