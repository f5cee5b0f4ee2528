"""The package as a whole: who imports whom, and that the files that describe it agree with each other."""

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml

import reasonseg_ros
from reasonseg_ros.config import settings
from reasonseg_ros.config.parameter_file import parameter_file

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "reasonseg_ros"
INTERFACES = sorted(
    path.relative_to(ROOT).as_posix() for kind in ("msg", "srv", "action") for path in (ROOT / kind).glob(f"*.{kind}")
)

# What each part may import of the others; everything may import the plain modules beside them and the core's folders.
CORE = {"bags", "config", "files", "images", "injection", "space"}
ALLOWED = {
    "bags": set(),
    "config": set(),
    "files": set(),
    "images": set(),
    "injection": set(),
    "space": set(),
    "engine": set(),
    "reasoner": {"engine"},
    "segmenter": {"engine"},
    "selection": {"engine", "segmenter"},
    "export": {"engine", "segmenter"},
    "methods": {"engine", "export", "reasoner", "segmenter", "selection"},
    "live": {"methods", "reasoner", "segmenter"},
    "tabletop": set(),
    "evaluation": {"methods", "reasoner", "segmenter"},
    "training": {"engine", "export", "methods", "reasoner", "segmenter", "selection", "tabletop", "evaluation"},
    "data_engine": {"evaluation", "reasoner", "training"},
    "hub": {"engine", "reasoner", "segmenter"},
    "recording": {"engine", "evaluation", "live", "methods", "reasoner", "segmenter"},
    "ros": {"live", "methods", "reasoner", "recording", "segmenter"},
    "doctor": {"engine", "hub", "methods", "reasoner", "ros", "segmenter"},
    "agent": {"ros"},
    "demo": {"methods", "ros", "evaluation", "tabletop"},
    "console": {"data_engine", "ros"},
    "commands": {
        "agent",
        "console",
        "data_engine",
        "demo",
        "doctor",
        "engine",
        "evaluation",
        "export",
        "hub",
        "live",
        "methods",
        "reasoner",
        "recording",
        "ros",
        "segmenter",
        "tabletop",
        "training",
    },
}
ROS_PARTS = {"agent", "console", "demo", "ros"}
OPTIONAL = {"encodings.py": {"cv_bridge.CvBridge", "cv_bridge.boost.cv_bridge_boost"}}  # used if it is there
ROS_MODULES = re.compile(r"(rclpy|cv_bridge|message_filters|tf2_ros|std_srvs|\w+_(?:msgs|interfaces))\b")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def part_of(module: str) -> str:
    """`reasoner` of reasonseg_ros.reasoner.port; empty for a plain module and for other packages."""
    names = module.split(".")
    is_part = len(names) > 1 and names[0] == "reasonseg_ros" and (PACKAGE / names[1]).is_dir()
    return names[1] if is_part else ""


SOURCES = sorted(path for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path):
    module = "reasonseg_ros." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    part = part_of(module)
    modules = imports(path)
    if part:
        parts = {part_of(name) for name in modules} - {"", part} - CORE
        assert parts <= ALLOWED[part], f"{part} may not import {sorted(parts - ALLOWED[part])}"
        assert "reasonseg_ros.cli" not in {name[:17] for name in modules}
    if part not in ROS_PARTS:
        generated = re.compile(r"reasonseg_ros\.(msg|srv|action)\b")
        modules -= OPTIONAL.get(path.name, set())
        assert not [name for name in modules if ROS_MODULES.match(name) or generated.match(name)]


def modules_imported(path: Path, names: dict[str, Path]) -> set[str]:
    """The package's modules that a file imports, at its top or in functions."""
    found = {name if name in names else name.rpartition(".")[0] for name in imports(path)}
    return (found & set(names)) - {"reasonseg_ros"}


def test_no_import_circles():
    """The package itself is left out: it lists its public names and imports them when they are asked for."""
    names = {"reasonseg_ros." + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): path
             for path in SOURCES}  # fmt: skip
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    graph = {name: modules_imported(path, names) - {name} for name, path in names.items() if name != "reasonseg_ros"}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


ONE_NAME_IN_SEVERAL_MODULES = {
    "main",  # of a program
    "register", "run",  # of a verb of the command line
}  # fmt: skip


def public_names(path: Path) -> set[str]:
    """Public classes, functions and named types that a module defines."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            found |= {name for name in names if re.match("[A-Z].*[a-z]", name)}
    return {name for name in found if not name.startswith("_")}


def test_a_public_name_means_one_thing():
    homes: dict[str, list[str]] = {}
    for path in SOURCES:
        for name in public_names(path) - ONE_NAME_IN_SEVERAL_MODULES:
            homes.setdefault(name, []).append(path.relative_to(PACKAGE).as_posix())
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_plain_values_import_no_part_and_settings_only_the_readers_of_files():
    for name in ("types", "spatial", "errors", "geometry"):
        assert {part_of(module) for module in imports(PACKAGE / f"{name}.py")} <= {""}
    for path in (PACKAGE / "config").glob("*.py"):
        assert {part_of(module) for module in imports(path)} <= {"", "config", "files"}
    for path in (PACKAGE / "files").glob("*.py"):
        assert {part_of(module) for module in imports(path)} <= {"", "files"}


def test_one_file_runs_onnxruntime_and_one_tensorrt():
    """The tools that quantise an export are no runtime."""
    runtimes = re.compile(r"(onnxruntime(?!\.quantization)|tensorrt|tensorrt_rtx|tensorrt_rtx_bindings)\b")
    files = {path.relative_to(PACKAGE).as_posix() for path in SOURCES if any(map(runtimes.match, imports(path)))}
    assert files == {"engine/onnxruntime.py"}  # engine/tensorrt.py takes the one of its libraries that is there


def test_import_loads_neither_torch_nor_ros():
    code = "import sys, reasonseg_ros, reasonseg_ros.config, reasonseg_ros.types; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert "reasonseg_ros" in loaded
    assert not loaded & {"torch", "transformers", "rclpy", "mujoco", "cv2"}


def test_the_node_needs_no_library_for_bags():
    """On a robot it comes with ROS packages only; `play` and `demo` ask for more."""
    pytest.importorskip("rclpy")
    code = "import sys; sys.modules |= dict.fromkeys(['rosbags', 'mcap', 'lz4', 'backports.zstd', 'rich'])\n"
    code += "import reasonseg_ros.ros.node, reasonseg_ros.ros.client.asking; print('imported')"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "imported", result.stderr


def test_package_works_without_messages():
    """A plain `pip install` has no ROS: the package imports, its messages say that they are not there."""
    code = f"import sys; sys.path = [{str(ROOT)!r}, *(path for path in sys.path if 'site-packages' not in path)]\n"
    code += "import reasonseg_ros\ntry: import reasonseg_ros.msg\nexcept ImportError: print('no messages')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "no messages"


def test_installed_messages_join_the_sources():
    pytest.importorskip("reasonseg_ros.msg", reason="needs the built messages")
    from reasonseg_ros import action, msg, srv

    for path in INTERFACES:
        kind, name = path.split("/")
        assert hasattr({"msg": msg, "srv": srv, "action": action}[kind], Path(name).stem), "run `make setup`"
    assert Path(reasonseg_ros.__file__).parent == PACKAGE


def test_cmake_lists_every_interface():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = re.findall(r"^\s+((?:msg|srv|action)/\w+\.\w+)$", text, re.MULTILINE)
    assert sorted(listed) == INTERFACES


def test_cmake_installs_what_is_there():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    folders = " ".join(re.findall(r"install\(DIRECTORY ([\w ]+?) DESTINATION share", text)).split()
    assert sorted(folders) == ["config", "demo", "foxglove", "launch", "models", "rviz"]
    assert not [name for name in folders if not any((ROOT / name).iterdir())]
    scripts = re.search(r"install\(PROGRAMS ([\w/ ]+?) DESTINATION", text)[1].split()
    assert scripts == sorted(f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir() if not path.suffix)
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), script


INSTALLED_SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if not path.suffix)


@pytest.mark.parametrize("path", INSTALLED_SCRIPTS, ids=lambda path: path.name)
def test_installed_scripts_import_names_that_exist(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("reasonseg_ros"):
            source = ast.parse((ROOT / f"{node.module.replace('.', '/')}.py").read_text(encoding="utf-8"))
            defined = {item.name for item in source.body if isinstance(item, ast.ClassDef | ast.FunctionDef)}
            assert {name.name for name in node.names} <= defined


def test_manifest_names_what_the_interfaces_and_sources_use():
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    declared = {element.text for element in manifest if element.tag.endswith("depend")}
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    for path in INTERFACES:
        for package in re.findall(r"^\s*(\w+)/\w+", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE):
            assert package in declared
            assert f"find_package({package} REQUIRED)" in cmake
    for path in (PACKAGE / "ros").rglob("*.py"):
        used = {match[1] for name in imports(path) if (match := ROS_MODULES.match(name))}
        assert used <= declared, path
    assert manifest.find("member_of_group").text == "rosidl_interface_packages"
    assert manifest.find("export/build_type").text == "ament_cmake"


def test_version_is_the_same_everywhere():
    version = reasonseg_ros.__version__
    assert ElementTree.parse(ROOT / "package.xml").findtext("version") == version
    assert version in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_parameter_file_is_the_settings():
    text = (ROOT / "config" / "reasonseg.yaml").read_text(encoding="utf-8")
    assert text == parameter_file(), "run `make config`"
    parameters = yaml.safe_load(text)["/**"]["ros__parameters"]
    for name, item, value in settings():
        entry = parameters
        for key in name.split("."):
            entry = entry[key]
        assert entry == value
        assert type(entry) is type(value)
        assert f"# {item.metadata['description']}" in text


def test_shared_memory_segment_holds_several_camera_images():
    names = {"fast": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    profile = ElementTree.parse(ROOT / "config" / "fastdds_shm.xml")
    segment_bytes = int(profile.findtext(".//fast:segment_size", namespaces=names))
    assert segment_bytes >= 10 * 1280 * 720 * 3


def test_public_names_are_there_and_are_listed_for_type_checkers():
    assert sorted(reasonseg_ros.__all__) == sorted(reasonseg_ros._HOMES)
    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    typed = re.findall(r"^    from (reasonseg_ros[\w.]*) import (.+)$", text, re.MULTILINE)
    assert {name for _, names in typed for name in names.split(", ")} == set(reasonseg_ros.__all__)
    for name in reasonseg_ros.__all__:
        assert getattr(reasonseg_ros, name) is not None
    assert (PACKAGE / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = reasonseg_ros.nothing
