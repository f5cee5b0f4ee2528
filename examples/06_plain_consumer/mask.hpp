// A reasonseg_ros/msg/Mask as an OpenCV image.
#pragma once

#include <cstdint>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <stdexcept>
#include <vector>

#include "run_lengths.hpp"

// 8-bit image of the camera image's size, 255 inside the mask. Throws std::runtime_error if the data are damaged.
template <class MaskMessage>
cv::Mat decode_mask(const MaskMessage& mask) {
  const cv::Size size(static_cast<int>(mask.crop_width), static_cast<int>(mask.crop_height));
  cv::Mat whole = cv::Mat::zeros(static_cast<int>(mask.height), static_cast<int>(mask.width), CV_8UC1);
  if (size.area() == 0) return whole;
  std::vector<std::uint8_t> data(mask.data.begin(), mask.data.end());
  cv::Mat crop;
  if (mask.encoding == "png") {
    crop = cv::imdecode(data, cv::IMREAD_GRAYSCALE);
    if (crop.size() != size) throw std::runtime_error("the PNG does not have the size of the crop");
  } else {
    data = decode_run_lengths(data, mask.crop_height, mask.crop_width);
    crop = cv::Mat(size, CV_8UC1, data.data());
  }
  crop.copyTo(whole(cv::Rect(cv::Point(static_cast<int>(mask.x_offset), static_cast<int>(mask.y_offset)), size)));
  return whole;
}
