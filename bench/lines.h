// SPDX-License-Identifier: Apache-2.0
//
// Lines over descriptors: standard input and output, or a virtio-serial port.
#ifndef LANECALL_BENCH_LINES_H
#define LANECALL_BENCH_LINES_H

#include <lanecall/descriptor.h>

#include <optional>
#include <string>

namespace lanecall::bench {

class Lines {
 public:
  // On standard input and output.
  Lines() = default;

  // On a character device or such. Throws std::system_error.
  explicit Lines(const std::string& path);

  // Without its end; blocks. Nothing at the end of the stream, where a line
  // that is not whole is dropped. Throws std::system_error.
  std::optional<std::string> read();

  // Blocks until all is written. Throws std::system_error.
  void write(const std::string& line);

 private:
  std::string name_ = "standard input or output";
  Descriptor device_;
  int in_ = 0;
  int out_ = 1;
  std::string ahead_;
};

}  // namespace lanecall::bench

#endif
