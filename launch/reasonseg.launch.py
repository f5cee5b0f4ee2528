"""The perception node: `ros2 launch reasonseg_ros reasonseg.launch.py image_topic:=/camera/color/image_raw`."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    params_file = PathJoinSubstitution([FindPackageShare("reasonseg_ros"), "config", "reasonseg.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("params_file", default_value=params_file, description="YAML file of parameters"),
            DeclareLaunchArgument("namespace", default_value="", description="namespace of the node"),
            DeclareLaunchArgument("image_topic", default_value="image", description="camera image to look at"),
            DeclareLaunchArgument("camera_info_topic", default_value="camera_info", description="its calibration"),
            DeclareLaunchArgument("depth_topic", default_value="depth", description="depth image, where there is one"),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="take the time from /clock"),
            Node(
                package="reasonseg_ros",
                executable="node",
                name="reasonseg",
                namespace=LaunchConfiguration("namespace"),
                output="screen",
                parameters=[
                    LaunchConfiguration("params_file"),
                    {"use_sim_time": LaunchConfiguration("use_sim_time")},
                ],
                remappings=[
                    ("image", LaunchConfiguration("image_topic")),
                    ("camera_info", LaunchConfiguration("camera_info_topic")),
                    ("depth", LaunchConfiguration("depth_topic")),
                ],
            ),
        ]
    )
