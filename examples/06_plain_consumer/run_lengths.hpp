// Run lengths of a mask: little-endian uint32, column by column, zeros first. Standard library only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

// The pixels of the crop row by row, 255 inside the mask. Throws std::runtime_error if the data do not fill the crop.
inline std::vector<std::uint8_t> decode_run_lengths(const std::vector<std::uint8_t>& data, std::size_t height,
                                                    std::size_t width) {
  if (data.size() % 4 != 0) throw std::runtime_error("run lengths of 4 bytes each are expected");
  std::vector<std::uint8_t> pixels(height * width, 0);
  std::size_t at = 0;  // in the order of the columns
  std::uint8_t value = 0;
  for (std::size_t byte = 0; byte < data.size(); byte += 4) {
    const std::size_t run = data[byte] | data[byte + 1] << 8 | data[byte + 2] << 16 |
                            static_cast<std::size_t>(data[byte + 3]) << 24;
    if (run > pixels.size() - at) throw std::runtime_error("the run lengths exceed the crop");
    for (const std::size_t end = at + run; at < end; ++at) pixels[at % height * width + at / height] = value;
    value = 255 - value;
  }
  if (at != pixels.size()) throw std::runtime_error("the run lengths do not fill the crop");
  return pixels;
}
