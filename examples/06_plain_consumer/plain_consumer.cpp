// Prints each answer of the node with the area of its masks.
#include <memory>
#include <opencv2/core.hpp>
#include <rclcpp/rclcpp.hpp>
#include <reasonseg_ros/msg/segmentation.hpp>

#include "mask.hpp"

using reasonseg_ros::msg::Segmentation;

class PlainConsumer : public rclcpp::Node {
 public:
  PlainConsumer() : Node("plain_consumer") {
    // Answers are latched: a late subscriber gets the newest one.
    subscription_ = create_subscription<Segmentation>(
        "/reasonseg/segmentation", rclcpp::QoS(1).transient_local(),
        [this](const Segmentation::ConstSharedPtr answer) { on_answer(*answer); });
  }

 private:
  void on_answer(const Segmentation& answer) {
    if (answer.status == Segmentation::NO_TARGET) {
      RCLCPP_INFO(get_logger(), "nothing fits: %s", answer.thought.c_str());
    } else if (answer.status != Segmentation::OK) {  // a failure is not an empty scene
      RCLCPP_WARN(get_logger(), "%s: %s", answer.status.c_str(), answer.error.c_str());
    }
    for (const auto& region : answer.regions) {
      const cv::Mat mask = decode_mask(region.mask);
      RCLCPP_INFO(get_logger(), "%s: %d pixels", region.label.c_str(), cv::countNonZero(mask));
    }
  }

  rclcpp::Subscription<Segmentation>::SharedPtr subscription_;
};

int main(int argc, char** argv) {
  rclcpp::init(argc, argv);
  rclcpp::spin(std::make_shared<PlainConsumer>());
  rclcpp::shutdown();
  return 0;
}
