"""Which files of a checkpoint are on this machine, and whether its weights fit."""

import json

import pytest
from fake_hub_server import weights

from reasonseg_ros import cli
from reasonseg_ros.engine.gpu import Gpu
from reasonseg_ros.errors import ModelError
from reasonseg_ros.hub.memory import GIB, MachineMemory, best_fit, machine_memory
from reasonseg_ros.hub.stored import stored
from reasonseg_ros.hub.weight_files import parameter_count
from reasonseg_ros.model_card import ModelCard, card_names, find_card


def test_parameters_are_those_that_the_library_counts():
    torch_files = pytest.importorskip("safetensors")
    for name in ("tabletop-reasoner", "tabletop-segmenter"):
        folder = find_card(name).source
        with torch_files.safe_open(f"{folder}/model.safetensors", framework="numpy") as file:
            sizes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
        expected = 0
        for shape in sizes:
            count = 1
            for length in shape:
                count *= length
            expected += count
        assert stored(find_card(name)).parameters == expected


def card(folder):
    return ModelCard("mine", "segmenter", str(folder), parameters_m=2)


def test_a_missing_folder_has_the_parameters_of_its_card(tmp_path):
    found = stored(card(tmp_path / "absent"))
    assert (found.folder, found.parameters, found.is_usable) == (None, 2_000_000, False)


def test_missing_shards_are_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    names = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (tmp_path / "model-1.safetensors").write_bytes(weights(10))
    assert stored(card(tmp_path)).missing == ("model-2.safetensors",)
    (tmp_path / "model-2.safetensors").write_bytes(weights(20, "b"))
    assert stored(card(tmp_path)).parameters == 30 and stored(card(tmp_path)).is_usable
    (tmp_path / "model-2.safetensors").write_bytes(weights(20))
    assert "w is in model-1.safetensors and in model-2.safetensors" in stored(card(tmp_path)).error


def test_two_sets_of_weights_are_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    (tmp_path / "model-1.safetensors").write_bytes(weights(10))
    assert stored(card(tmp_path)).is_usable
    (tmp_path / "model.safetensors").write_bytes(weights(20))
    assert "has two sets of weights, model.safetensors and model-1.safetensors" in stored(card(tmp_path)).error
    (tmp_path / "model-1.safetensors").unlink()  # what is left is a forgotten index
    assert stored(card(tmp_path)).parameters == 20 and stored(card(tmp_path)).is_usable


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, weights(100)[:-1], b"\x02" + bytes(7) + b"[]", bytes(100)])
def test_damaged_weights_are_refused_with_their_path(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors is no whole safetensors file"):
        parameter_count(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert "is no whole" in stored(card(tmp_path)).error and not stored(card(tmp_path)).is_usable


def gpu(memory_gib):
    return Gpu(0, "a GPU", "8.9", memory_gib * GIB, "12.6")


@pytest.mark.parametrize(
    ("ram_gib", "gpu_gib", "place", "is_enough"),
    [(64, 24, "a GPU", True), (64, 16, "CPU", True), (16, 16, "a GPU", False), (16, None, "CPU", False)],
)
def test_weights_go_where_they_fit(ram_gib, gpu_gib, place, is_enough):
    memory = MachineMemory(ram_gib * GIB, (gpu(gpu_gib),) if gpu_gib else ())
    fit = best_fit(8_292_000_000, memory)  # 15.4 GiB in bfloat16, 30.9 in float32
    assert (fit.place, fit.is_enough) == (place, is_enough)


def test_this_machine_has_memory():
    assert machine_memory().ram_bytes > 2**28


def test_every_card_is_listed_with_its_licence_and_what_that_means(capsys):
    assert cli.main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == card_names()
    by_name = {line.split()[0]: line for line in lines}
    assert "NON-COMMERCIAL only" in by_name["qwen2.5-vl-3b"] and "here" in by_name["tabletop-reasoner"]
    assert cli.main(["models", "list", "--kind", "segmenter", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [value["card"]["name"] for value in values] == card_names("segmenter")


def test_cards_on_the_hub_state_their_parameters():
    for name in card_names():
        found = find_card(name)
        assert found.is_folder or found.parameters_m > 0, name


def test_an_embedded_model_is_shown_with_what_it_knows(capsys):
    assert cli.main(["models", "show", "tabletop-segmenter"]) == 0
    text = capsys.readouterr().out
    assert "the simulated tabletop only" in text and "2.7 million" in text and "here (" in text
