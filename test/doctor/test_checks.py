"""Every judgement of the doctor, on facts that are given to it."""

from dataclasses import replace

import pytest

from reasonseg_ros.config import CameraConfig, config_from
from reasonseg_ros.doctor import machine, models, settings, software, topics
from reasonseg_ros.doctor.finding import Check, Finding, Level, Wanted
from reasonseg_ros.doctor.run import CHECKS, as_values, diagnose, worst
from reasonseg_ros.engine.gpu import Gpu
from reasonseg_ros.hub.memory import Fit
from reasonseg_ros.hub.stored import Stored
from reasonseg_ros.model_card import load_card
from reasonseg_ros.ros.client.survey import Survey, TopicFacts

GPU = Gpu(0, "NVIDIA Orin", "8.7", 32 * 2**30, "12.6")
MIB = 2**20


def judged(judge, facts):
    """Levels and all words of the findings."""
    findings = judge(facts)
    return [str(one.level) for one in findings], " ".join(f"{one.text} {one.remedy}" for one in findings)


@pytest.mark.parametrize(("version", "level"), [((3, 9, 18), "fault"), ((3, 10, 0), "ok"), ((3, 15, 0), "fault")])
def test_python(version, level):
    assert judged(software.judge_python, software.PythonFacts(version, "python"))[0] == [level]


def test_a_missing_library_is_a_fault_only_where_the_settings_need_it():
    versions = {module: "1" for names, _ in software.GROUPS.values() for module in names if module != "torch"}
    facts = software.LibraryFacts(versions, frozenset({"core"}))
    assert set(judged(software.judge_libraries, facts)[0]) == {"ok"}
    levels, words = judged(software.judge_libraries, replace(facts, needed=frozenset({"models in torch"})))
    assert levels.count("fault") == 1 and "no module torch" in words and "reasonseg_ros[models]" in words


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, {"core", "reasoner on ONNX Runtime", "segmenter on ONNX Runtime"}),
        ({"reasoner.backend": "server"}, {"core", "reasoner on a server", "segmenter on ONNX Runtime"}),
        ({"reasoner.model": "qwen3-vl-2b", "segmenter.model": "sam2.1-tiny"}, {"core", "models in torch"}),
        ({"reasoner.model": "no-such-model"}, {"core", "segmenter on ONNX Runtime"}),
    ],
)
def test_the_settings_say_which_libraries_are_needed(settings, needed):
    assert software.needed_groups(config_from(settings)) == needed


ROS = software.RosFacts(True, True, "jazzy", middlewares=("rmw_cyclonedds_cpp", "rmw_fastrtps_cpp"))


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (ROS, "ok", "ROS 2 jazzy, rmw_fastrtps_cpp, domain 0"),
        (software.RosFacts(False, False), "warning", "source the setup.bash"),
        (replace(ROS, has_messages=False), "fault", "colcon build"),
        (replace(ROS, middleware="rmw_zenoh_cpp"), "fault", "unset RMW_IMPLEMENTATION"),
        (replace(ROS, middleware="rmw_cyclonedds_cpp", domain="7"), "ok", "rmw_cyclonedds_cpp, domain 7"),
        (replace(ROS, domain="seven"), "fault", "ROS_DOMAIN_ID = 'seven'"),
    ],
)
def test_ros(facts, level, words):
    levels, said = judged(software.judge_ros, facts)
    assert levels == [level] and words in said


SHM = machine.SharedMemoryFacts("rmw_fastrtps_cpp", 8000 * MIB, 8000 * MIB, "shm.xml", 32 * MIB)


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (SHM, "ok", "segments of 32 MiB by shm.xml"),
        (replace(SHM, profile="", segment_bytes=0), "warning", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        (replace(SHM, segment_bytes=-1), "fault", "cannot be read as XML"),
        (replace(SHM, segment_bytes=MIB), "warning", "segments of 1.0 MiB"),
        (replace(SHM, free_bytes=60 * MIB), "warning", "--ipc=host"),
        (replace(SHM, segment_bytes=5000 * MIB), "warning", "need 10000 MiB"),
        (replace(SHM, middleware="rmw_cyclonedds_cpp", free_bytes=0), "ok", "its own settings"),
    ],
)
def test_shared_memory(facts, level, words):
    levels, said = judged(machine.judge_shared_memory, facts)
    assert levels == [level] and words in said


def test_the_segment_of_a_profile_is_read(tmp_path):
    from reasonseg_ros.files.resources import resource

    assert machine.segment_bytes(resource("config/fastdds_shm.xml")) == machine.SEGMENT_BYTES
    (tmp_path / "empty.xml").write_text("<profiles/>")
    (tmp_path / "broken.xml").write_text("<profiles")
    sizes = [machine.segment_bytes(tmp_path / name) for name in ("empty.xml", "broken.xml", "absent.xml")]
    assert sizes == [0, -1, -1]


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (machine.GpuFacts(()), "ok", "models run on the CPU"),
        (machine.GpuFacts((), "560.35"), "warning", "--gpus all"),
        (machine.GpuFacts((), wanted={"reasoner.device": "cuda"}), "fault", "reasoner.device = cuda"),
        (machine.GpuFacts((GPU,), "560.35", "12.4"), "ok", "driver 560.35 for CUDA 12.6"),
        (machine.GpuFacts((GPU,), "560.35", "13.0"), "fault", "built for CUDA 13.0"),
        (machine.GpuFacts((GPU,), wanted={"segmenter.device": "cuda:1"}), "fault", "this machine has 1 GPUs"),
    ],
)
def test_gpu(facts, level, words):
    levels, said = judged(machine.judge_gpu, facts)
    assert levels[-1] == level and words in said


@pytest.mark.parametrize(
    ("backend", "level"),
    [("auto", "ok"), ("tensorrt_rtx", "ok"), ("tensorrt", "fault"), ("onnxruntime_tensorrt", "fault")],
)
def test_the_configured_runtime_has_to_be_there(backend, level):
    facts = machine.RuntimeFacts("1.22", ("cpu", "cuda"), {"tensorrt_rtx": "1.4"}, backend)
    assert judged(machine.judge_runtimes, facts)[0][-1] == level


@pytest.mark.parametrize(("free_gb", "level"), [(100, "ok"), (2, "warning"), (0.1, "fault")])
def test_disk(free_gb, level):
    facts = machine.DiskFacts({"models and engines": ("/models", int(free_gb * 1e9))})
    assert judged(machine.judge_disk, facts)[0] == [level]


@pytest.mark.parametrize(("state", "level"), [(True, "ok"), (None, "ok"), (False, "warning")])
def test_clock(state, level):
    assert judged(machine.judge_clock, machine.ClockFacts(state))[0] == [level]


def model(name, kind="reasoner", found=None, **values):
    card = load_card(name, kind)
    return models.ModelFacts(kind, card, found or Stored(None, parameters=1000), **values)


@pytest.mark.parametrize(
    ("facts", "levels", "words"),
    [
        (model("tabletop-reasoner", found=Stored("/x", 1, (), 1)), ["ok", "ok"], "knows the simulated tabletop only"),
        (model("qwen3-vl-2b"), ["warning", "ok"], "reasonseg models fetch qwen3-vl-2b"),
        (model("qwen3-vl-2b", offline=True), ["fault", "ok"], "offline is set"),
        (model("qwen3-vl-2b", is_remote=True), ["ok", "ok"], "on a server"),
        (model("qwen3-vl-2b", found=Stored("/x", 1, ("config.json",))), ["fault", "ok"], "missing: config.json"),
        (model("qwen2.5-vl-3b"), ["warning", "warning"], "forbids commercial use"),
        (model("seg-zero-7b"), ["warning", "warning"], "is unclear"),
        (model("qwen3-vl-8b", fit=Fit("CPU", 30, 20)), ["warning", "warning", "ok"], "a smaller checkpoint"),
        (model("sam2.1-tiny", "segmenter", mismatch="is old"), ["warning", "warning", "ok"], "export it again"),
        (models.ModelFacts("segmenter", error="no such model"), ["fault"], "set segmenter.model"),
    ],
)
def test_models(facts, levels, words):
    found, said = judged(models.judge_models, [facts])
    assert found == levels and words in said


def test_a_gated_model_names_the_way_to_its_files():
    card = replace(load_card("qwen3-vl-2b", "reasoner"), gated=True)
    facts = models.ModelFacts("reasoner", card, Stored(None, parameters=1))
    assert "hf auth login" in judged(models.judge_models, [facts])[1]


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        (models.EngineFacts(""), "ok"),
        (models.EngineFacts("/cache", 2, 5, 10, 1), "ok"),
        (models.EngineFacts("/cache", 2, 15, 10), "warning"),
        (models.EngineFacts("/cache", error="others can write to it"), "fault"),
    ],
)
def test_engine_cache(facts, level):
    assert judged(models.judge_engines, facts)[0] == [level]


def test_the_hub_is_asked_on_request_only():
    assert models.look_at_hub(Wanted()) == models.HubFacts(False, {}, ())
    assert judged(models.judge_hub, models.HubFacts(True, {"m": "no network"}, ("m",)))[0] == ["fault"]
    assert "reached for m" in judged(models.judge_hub, models.HubFacts(True, {}, ("m",)))[1]


IMAGE = TopicFacts(
    "/camera", ("sensor_msgs/msg/Image",), (("/driver", "reliable"),), 30, 10.0, 0.02, True, 900_000, "camera_link"
)
NAMES = {"image": "/camera"}


def robot(topic=IMAGE, camera=None, target_frame="", frames=None, linked=None, simulated=False, names=NAMES):
    found = {topic.name: topic} if topic else {}
    survey = Survey(3.0, found, frames, linked or {}, simulated)
    return topics.RobotFacts(survey, names, camera or CameraConfig(), target_frame)


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (robot(), "ok", "by /driver (reliable), 10.0 Hz, 0.90 MB, 20 ms old"),
        (robot(None), "fault", "--image-topic"),
        (robot(None, names={"depth": "/depth"}), "ok", "no 3D results"),
        (robot(None, names={"camera_info": "/info"}), "warning", "--camera-info-topic"),
        (robot(names={"image": "/other"}), "fault", "topics of sensor_msgs/msg/Image: /camera"),
        (robot(camera=CameraConfig(transport="compressed")), "fault", "expected sensor_msgs/msg/CompressedImage"),
        (robot(replace(IMAGE, messages=0, rate_hz=None)), "fault", "no message in 3 s"),
        (robot(replace(IMAGE, has_stamps=False)), "warning", "its stamps are 0"),
        (robot(replace(IMAGE, stamp_age_s=30.0)), "warning", "30.0 s in the past"),
        (robot(replace(IMAGE, stamp_age_s=-2.0)), "warning", "synchronise the machines"),
        (robot(replace(IMAGE, stamp_age_s=30.0), simulated=True), "warning", "use_sim_time"),
        (
            robot(replace(IMAGE, publishers=(("/driver", "best effort"),)), CameraConfig(reliability="reliable")),
            "fault",
            "never matches",
        ),
    ],
)
def test_the_camera(facts, level, words):
    levels, said = judged(topics.judge_robot, facts)
    assert levels[0] == level and words in said


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (robot(), "ok", "tf2_msgs is not installed"),
        (robot(target_frame="base"), "fault", "install tf2_msgs"),
        (robot(frames={"camera_link": "base"}), "ok", "1 tf frames"),
        (robot(frames={"camera_link": "base"}, target_frame="map"), "fault", "which tf does not know"),
        (
            robot(frames={"a": "base"}, target_frame="base", linked={"camera_link": False}),
            "fault",
            "no path from camera_link to base",
        ),
        (
            robot(frames={"camera_link": "base"}, target_frame="base", linked={"camera_link": True}),
            "ok",
            "with a path to base",
        ),
    ],
)
def test_transforms(facts, level, words):
    levels, said = judged(topics.judge_robot, facts)
    assert levels[-1] == level and words in said


def test_topics_are_looked_at_on_request_only():
    assert topics.look_at_robot(Wanted()) == topics.RobotFacts()
    assert judged(topics.judge_robot, topics.RobotFacts(error="no rclpy"))[0] == ["fault"]


def test_a_check_that_fails_is_a_fault_and_the_others_go_on():
    def broken(_):
        raise OSError("no /proc here")

    checks = [Check("first", broken, list), CHECKS[0]]
    found = list(diagnose(Wanted(), checks))
    assert [(name, str(one.level)) for name, one in found] == [("first", "fault"), ("python", "ok")]
    assert "no /proc here" in found[0][1].text
    assert worst(found) is Level.FAULT and as_values(found)["worst"] == "fault"


def test_warnings_and_faults_name_their_remedy():
    with pytest.raises(ValueError, match="without a remedy"):
        Finding(Level.WARNING, "it is slow")


def test_names_of_checks_are_unique():
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"reasoner.server_url": "http://user:hunter2@host/v1", "reasoner.backend": "server"},
            "server_url holds a user",
        ),
        ({"reasoner.server_key_variable": "NO_SUCH_KEY", "reasoner.backend": "server"}, "NO_SUCH_KEY"),
        ({"reasoner.prompt_file": "/no/such/file"}, "reasoner.prompt_file"),
        ({"segmenter.model": "no-such-model"}, "segmenter.model"),
    ],
)
def test_settings_that_the_node_refuses_are_a_fault(changes, reason):
    (finding,) = settings.judge_settings(settings.look_at_settings(Wanted(config_from(changes))))
    assert finding.level is Level.FAULT and reason in finding.text and "hunter2" not in finding.text
    (fine,) = settings.judge_settings(settings.look_at_settings(Wanted()))
    assert fine.level is Level.OK
