"""The perception node: `ros2 launch reasonseg_ros reasonseg.launch.py image_topic:=/camera/color/image_raw`."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

CHOSEN = {"model": "reasoner.model", "segmenter": "segmenter.model", "method": "method"}
"""Launch arguments that take precedence over the parameter file if they are given, and the parameters that they set."""


def node(context):
    names = (*CHOSEN, "respawn", "console", "console_port", "namespace")
    given = {argument: LaunchConfiguration(argument).perform(context) for argument in names}
    chosen = {name: ParameterValue(given[key], value_type=str) for key, name in CHOSEN.items() if given[key]}
    return [
        Node(
            package="reasonseg_ros",
            executable="node",
            name="reasonseg",
            namespace=LaunchConfiguration("namespace"),
            output="screen",
            respawn=is_true(given["respawn"]),
            respawn_delay=2.0,
            # An argument, because `parameters` of launch silently skips a missing file.
            ros_arguments=["--params-file", LaunchConfiguration("params_file")],
            parameters=[{"use_sim_time": LaunchConfiguration("use_sim_time"), **chosen}],
            remappings=[
                ("image", LaunchConfiguration("image_topic")),
                ("camera_info", LaunchConfiguration("camera_info_topic")),
                ("depth", LaunchConfiguration("depth_topic")),
            ],
        ),
        *(console(given["namespace"], given["console_port"]) if is_true(given["console"]) else ()),
    ]


def console(namespace, port):
    """The web console as a plain process, not as a launch node. It finds the perception node by its name."""
    name = "/".join(["", *filter(None, namespace.split("/")), "reasonseg"])
    program = ExecutableInPackage(package="reasonseg_ros", executable="reasonseg")
    return [ExecuteProcess(cmd=[program, "console", "--name", name, "--port", port], output="screen")]


def is_true(text):
    return text.lower() in ("true", "1")


def generate_launch_description():
    params_file = PathJoinSubstitution([FindPackageShare("reasonseg_ros"), "config", "reasonseg.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("params_file", default_value=params_file, description="YAML file of parameters"),
            DeclareLaunchArgument("namespace", default_value="", description="namespace of the node"),
            DeclareLaunchArgument("image_topic", default_value="image", description="topic of the camera image"),
            DeclareLaunchArgument("camera_info_topic", default_value="camera_info", description="its calibration"),
            DeclareLaunchArgument("depth_topic", default_value="depth", description="topic of the depth image, if any"),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="take the time from /clock"),
            DeclareLaunchArgument("model", default_value="", description="reasoner.model; overrides the file"),
            DeclareLaunchArgument("segmenter", default_value="", description="segmenter.model; overrides the file"),
            DeclareLaunchArgument("method", default_value="", description="method; overrides the file"),
            DeclareLaunchArgument("respawn", default_value="false", description="restart the node when it exits"),
            DeclareLaunchArgument("console", default_value="false", description="also start the web console"),
            DeclareLaunchArgument("console_port", default_value="8090", description="port of the web console"),
            OpaqueFunction(function=node),
        ]
    )
