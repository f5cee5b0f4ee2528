from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import Sam2VideoModel

from reasonseg_ros.errors import ModelError
from reasonseg_ros.export.official import config_of, load_official, transformers_weights

PUBLISHED = [(version, size) for version in ("2", "2.1") for size in ("t", "s", "b+", "l")]


@pytest.mark.parametrize(("version", "size"), PUBLISHED)
def test_every_published_size_has_a_place_for_every_weight(
    version: str, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without memory for the weights: names and shapes are what matters."""
    pytest.importorskip("sam2", reason="needs requirements/sam2.txt; run `make setup`")
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # its values are read
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # of the package and of hydra
        from sam2.build_sam import build_sam2

        official = build_sam2(f"configs/sam{version}/sam{version}_hiera_{size}.yaml", device="meta")
        state = transformers_weights(official.state_dict())
        expected = Sam2VideoModel(config_of(state, 512)).state_dict()
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in expected.items()
    }


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    for content in (b"", b"not torch", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is no checkpoint of the official sam2 package"):
            load_official(path)
    for weights in ({"other": 1}, [1], {"model": {"a.weight": torch.zeros(1)}}, {"model": 3}):
        torch.save(weights, path)
        with pytest.raises(ModelError):
            load_official(path)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model": Malice()}, tmp_path / "weights.pt")
    with pytest.raises(ModelError):
        load_official(tmp_path / "weights.pt")
    assert not (tmp_path / "ran").exists()


def test_weights_of_an_unknown_size_are_refused() -> None:
    backbone = "vision_encoder.backbone."
    state = {f"{backbone}patch_embed.projection.weight": torch.zeros(24, 3, 7, 7)}
    state |= {f"{backbone}blocks.{index}.layer_norm1.weight": torch.zeros(24) for index in range(3)}
    with pytest.raises(ModelError, match="an image encoder of width 24 and 3 blocks; known are 96 and 12"):
        config_of(state, 512)
