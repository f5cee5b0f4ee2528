"""The header of a safetensors file, against the library that writes such files."""

import json

import numpy as np
import pytest

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.safetensors_header import stored_tensors

library = pytest.importorskip("safetensors.numpy")

TENSORS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(7, np.int64),
    "half": np.linspace(0, 1, 5).astype(np.float16),
    "nothing": np.zeros((0, 4), np.uint8),
}


@pytest.fixture
def path(tmp_path):
    library.save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def test_places_and_types_are_those_of_the_library(path):
    found, data = stored_tensors(path), path.read_bytes()
    assert found.keys() == TENSORS.keys()
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "a.weight": "F32", "b": "I64", "half": "F16", "nothing": "U8"
    }  # fmt: skip
    for name, tensor in found.items():
        expected = TENSORS[name]
        values = np.frombuffer(data[tensor.offset : tensor.offset + tensor.length], expected.dtype)
        np.testing.assert_array_equal(values.reshape(tensor.shape), expected)


def test_a_file_that_is_cut_off_anywhere_is_refused(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="is no whole safetensors file"):
            stored_tensors(path)


HEADERS = {
    "a list": [],
    "a tensor without a place": {"a": {"dtype": "F32", "shape": [1]}},
    "a tensor without a type": {"a": {"shape": [1], "data_offsets": [0, 4]}},
    "a place that ends before it begins": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
    "a place before the data": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}},
    "a negative side": {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    "a side that is no number": {"a": {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]}},
    "a fraction": {"a": {"dtype": "F32", "shape": [1.5], "data_offsets": [0, 4]}},
    "three places": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2, 4]}},
    "a shape that is a number": {"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_the_library_refuses_is_refused(path, header):
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(Exception, match="eader"):
        library.load_file(path)
    with pytest.raises(ModelError, match="is no whole safetensors file"):
        stored_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"model\.safetensors: No such file"):
        stored_tensors(tmp_path / "model.safetensors")
