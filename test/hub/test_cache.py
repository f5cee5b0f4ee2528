"""Whether a checkpoint is loaded without asking the hub."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasonseg_ros import hub_cache
from reasonseg_ros.errors import ModelError
from reasonseg_ros.hub_cache import PROCESSOR, loads_locally
from reasonseg_ros.model_card import ModelCard

CARD = ModelCard("mine", "segmenter", "lab/mine")
WHOLE = ("config.json", "model.safetensors", "vocab.json", "preprocessor_config.json")


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hub_cache, "cached_snapshot", lambda card: tmp_path)
    monkeypatch.setattr(hub_cache, "ask_hub", lambda card: None)
    for name in WHOLE:
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_a_whole_snapshot_is(snapshot: Path) -> None:
    assert loads_locally(CARD, offline=False, needed=PROCESSOR)


@pytest.mark.parametrize("name", WHOLE)
def test_a_snapshot_with_a_missing_file_is_not_unless_the_settings_say_so(snapshot: Path, name: str) -> None:
    (snapshot / name).unlink()
    assert not loads_locally(CARD, offline=False, needed=PROCESSOR)
    assert loads_locally(CARD, offline=True, needed=PROCESSOR)


def test_every_shard_is_needed_and_a_damaged_index_is_fetched_again(snapshot: Path) -> None:
    (snapshot / "model.safetensors").unlink()
    index = snapshot / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}))
    (snapshot / "1.safetensors").write_text("")
    assert not loads_locally(CARD, offline=False)
    (snapshot / "2.safetensors").write_text("")
    assert loads_locally(CARD, offline=False)
    index.write_text("{")
    assert not loads_locally(CARD, offline=False)


def test_without_a_snapshot_the_hub_is_asked_and_a_folder_is_local(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_cache, "cached_snapshot", lambda card: None)
    monkeypatch.setattr(hub_cache, "ask_hub", lambda card: None)
    assert not loads_locally(CARD, offline=False)
    assert loads_locally(ModelCard("mine", "segmenter", str(tmp_path)), offline=False)


@pytest.fixture
def dead_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub that takes connections and never answers."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(hub_cache, "ANSWER_S", 0.5)
        yield address


@pytest.mark.parametrize("is_silent", [True, False], ids=["silent", "refused"])
def test_a_checkpoint_that_is_not_here_fails_soon_if_the_hub_does_not_answer(
    dead_hub: str, is_silent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading it would ask for each of its files again and again, for minutes."""
    if not is_silent:
        constants = pytest.importorskip("huggingface_hub.constants")
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(hub_cache, "cached_snapshot", lambda card: None)
    start_s = time.monotonic()
    with pytest.raises(ModelError, match=r"lab/mine cannot be fetched: .*check the network"):
        loads_locally(CARD, offline=False)
    assert time.monotonic() - start_s < 20
    monkeypatch.setattr(hub_cache, "cached_snapshot", lambda card: tmp_path)
    assert loads_locally(CARD, offline=False), "what is missing of it is named by whoever loads it"
