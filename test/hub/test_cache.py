"""Whether a checkpoint is loaded without asking the hub."""

import json
from pathlib import Path

import pytest

from reasonseg_ros import hub_cache
from reasonseg_ros.hub_cache import PROCESSOR, loads_locally
from reasonseg_ros.model_card import ModelCard

CARD = ModelCard("mine", "segmenter", "lab/mine")
WHOLE = ("config.json", "model.safetensors", "vocab.json", "preprocessor_config.json")


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hub_cache, "cached_snapshot", lambda card: tmp_path)
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
    assert not loads_locally(CARD, offline=False)
    assert loads_locally(ModelCard("mine", "segmenter", str(tmp_path)), offline=False)
