"""A recorded bag, the node and RViz: `ros2 launch reasonseg_ros replay.launch.py bag:=recording.mcap`."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def generate_launch_description():
    share = FindPackageShare("reasonseg_ros")
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="recording with camera images"),
            DeclareLaunchArgument("rate", default_value="1.0", description="speed of the replay"),
            DeclareLaunchArgument("rviz", default_value="true", description="show the answers in RViz"),
            # The included file also takes the node's arguments (params_file, image_topic, ...).
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(PathJoinSubstitution([share, "launch", "reasonseg.launch.py"])),
                launch_arguments={"use_sim_time": "true"}.items(),
            ),
            ExecuteProcess(
                cmd=[
                    "ros2",
                    "bag",
                    "play",
                    LaunchConfiguration("bag"),
                    "--clock",
                    "--loop",
                    "--rate",
                    LaunchConfiguration("rate"),
                ],
                output="screen",
            ),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", PathJoinSubstitution([share, "rviz", "reasonseg.rviz"])],
                remappings=[("image", LaunchConfiguration("image_topic"))],
                parameters=[{"use_sim_time": True}],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )
