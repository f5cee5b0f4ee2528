"""The contract of all engines, on the same graphs. A fake replaces TensorRT's library."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reasonseg_ros.engine.manifest import read_manifest
from reasonseg_ros.engine.onnxruntime import OnnxRuntimeBound, load_onnxruntime
from reasonseg_ros.engine.port import Engine, to_host, warm_up
from reasonseg_ros.errors import InvalidInput
from test.engine.test_tensorrt_running import engine_of as tensorrt_engine_of  # noqa: F401
from test.ports import check_members

LARGEST = {"N": 8, "P": 32}
IMAGE = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8)
MAPS = ("image_embed", "high_res_0", "high_res_1")


def onnxruntime_engine(export, name):
    graph = read_manifest(export).graphs[name]
    return load_onnxruntime(export / graph.file, graph, name=name, threads=1, largest=LARGEST)


def bound_engine(export, name):
    """That of a GPU, over the CPU's session: the binding is the same code."""
    graph = read_manifest(export).graphs[name]
    return OnnxRuntimeBound(onnxruntime_engine(export, name)._session, graph, name, "cpu", LARGEST)


@pytest.fixture(params=["onnxruntime", "bound", "tensorrt", "tensorrt_rtx"])
def engine_of(request, export):
    if request.param in ("tensorrt", "tensorrt_rtx"):
        make = request.getfixturevalue("tensorrt_engine_of")
        return lambda name: make(name, flavour=request.param)[0]
    make = {"onnxruntime": onnxruntime_engine, "bound": bound_engine}[request.param]
    return lambda name: make(export, name)


def prompts(features, objects, points=2):
    return {
        "image_embed": np.repeat(to_host(features["image_embed"]), objects, 0),
        "high_res_0": features["high_res_0"],
        "high_res_1": features["high_res_1"],
        "point_coords": np.arange(objects * points * 2, dtype=np.float32).reshape(objects, points, 2),
        "point_labels": np.ones((objects, points), np.int32),
    }


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_it_has_the_members_of_the_port_and_describes_its_graph(engine_of, export, name):
    engine, graph = engine_of(name), read_manifest(export).graphs[name]
    check_members(Engine, engine)
    assert (engine.name, engine.device, engine.largest) == (name, "cpu", LARGEST) and engine.runtime
    assert list(engine.inputs.values()) == list(graph.inputs)
    assert list(engine.outputs.values()) == list(graph.outputs)
    assert list(engine.inputs) == [tensor.name for tensor in graph.inputs]


def test_all_outputs_come_back_in_their_own_type_and_shape(engine_of):
    engine = engine_of("encoder")
    before = IMAGE.copy()
    found = engine.run({"image": IMAGE})
    for name, tensor in engine.outputs.items():
        assert isinstance(found[name], np.ndarray)
        assert (found[name].dtype.name, found[name].shape) == (tensor.dtype, tensor.shape)
    assert found.keys() == engine.outputs.keys()
    np.testing.assert_array_equal(before, IMAGE)


@pytest.mark.parametrize(("objects", "points"), [(1, 1), (3, 2), (8, 5)])
def test_every_runtime_computes_the_same(engine_of, export, objects, points):
    features = engine_of("encoder").run({"image": IMAGE})
    found = engine_of("decoder").run(prompts(features, objects, points))
    reference = onnxruntime_engine(export, "encoder").run({"image": IMAGE})
    expected = onnxruntime_engine(export, "decoder").run(prompts(reference, objects, points))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_kept_outputs_go_into_the_next_engine(engine_of):
    encoder, decoder = engine_of("encoder"), engine_of("decoder")
    kept = encoder.run({"image": IMAGE}, keep=MAPS)
    plain = encoder.run({"image": IMAGE})
    assert isinstance(kept["vision_feat"], np.ndarray)
    for name in MAPS:
        np.testing.assert_allclose(to_host(kept[name]), plain[name], atol=1e-5)
    masks = decoder.run(prompts(kept, 2))["masks"]
    np.testing.assert_allclose(masks, decoder.run(prompts(plain, 2))["masks"], atol=1e-5)


def test_results_stay_as_they_are_when_it_runs_again(engine_of):
    engine = engine_of("encoder")
    first = engine.run({"image": IMAGE}, keep=MAPS)
    copies = {name: to_host(value).copy() for name, value in first.items()}
    engine.run({"image": 255 - IMAGE}, keep=MAPS)
    for name, copy in copies.items():
        np.testing.assert_array_equal(to_host(first[name]), copy)


def test_zeros_can_be_written_to(engine_of):
    engine = engine_of("encoder")
    ring = engine.zeros((2, 3, 32, 2, 2), np.float32)
    assert not to_host(ring).any()
    feature = engine.run({"image": IMAGE}, keep=("vision_feat",))["vision_feat"]
    ring[1, 2] = feature[0]
    np.testing.assert_array_equal(to_host(ring)[1, 2], to_host(feature)[0])
    assert not to_host(ring)[0].any()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "inputs"),
        ({"picture": IMAGE}, "picture"),
        ({"image": IMAGE[:, :16]}, "image has shape"),
        ({"image": IMAGE[0]}, "image has shape"),
        ({"image": IMAGE, "more": IMAGE}, "more"),
    ],
)
def test_wrong_inputs_are_refused_by_name(engine_of, inputs, words):
    with pytest.raises(InvalidInput, match=words):
        engine_of("encoder").run(inputs)


def test_more_objects_than_it_takes_are_refused(engine_of):
    features = engine_of("encoder").run({"image": IMAGE})
    with pytest.raises(InvalidInput, match="N up to 8"):
        engine_of("decoder").run(prompts(features, 9))


def test_calls_from_several_threads_wait_for_each_other(engine_of):
    engine = engine_of("encoder")
    images = [np.roll(IMAGE, shift, axis=1) for shift in range(4)]
    expected = [engine.run({"image": image})["image_embed"] for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: engine.run({"image": image})["image_embed"], images * 4))
    for one, value in zip(found, expected * 4, strict=True):
        np.testing.assert_allclose(one, value, atol=1e-5)


def test_it_can_be_warmed_up_and_closed(engine_of):
    for name in ("encoder", "decoder"):
        engine = engine_of(name)
        warm_up(engine)
        engine.close()
