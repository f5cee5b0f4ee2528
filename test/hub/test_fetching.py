"""`reasonseg models fetch` through the hub's own client, from a hub on the loopback."""

import json
from pathlib import Path

import pytest
from fake_hub_server import BYTES, weights

from reasonseg_ros.errors import ModelError
from reasonseg_ros.hub.fetching import plan
from reasonseg_ros.model_card import find_card, load_card

pytest.importorskip("huggingface_hub")


def test_a_dry_run_says_what_would_come_and_fetches_nothing(models, hub, tmp_path):
    ended = models("fetch", "--dry-run")
    assert ended.returncode == 0 and "3 files, 0.0 MB" in ended.stdout, ended.stderr
    assert "Apache-2.0, commercial use allowed" in ended.stdout
    assert hub.ranges == [] and not (tmp_path / "home" / "hub").exists()


def test_a_model_is_fetched_once_and_is_then_here(models, hub):
    first = models("fetch")
    assert first.returncode == 0 and "their checksums are right" in first.stdout, first.stderr
    assert "of which 0.0 MB are not here" in models("fetch").stdout
    assert len(hub.ranges) == 1, "the weights were transferred twice"
    values = json.loads(models("show", "--json", HF_HUB_OFFLINE="1").stdout)
    assert values["stored"]["is_usable"] and values["stored"]["parameters"] == 1000
    assert not values["stored"]["folder"].endswith("pytorch_model.bin")


def test_a_lost_connection_resumes_where_it_broke_off(models, hub):
    hub.files["model.safetensors"] = weights()
    hub.cut_at, hub.cuts = 22 * 2**20, 1
    ended = models("fetch")
    assert ended.returncode == 0, ended.stderr
    assert hub.ranges[0] == "" and hub.ranges[1].startswith("bytes="), hub.ranges
    assert 0 < int(hub.ranges[1].removeprefix("bytes=").rstrip("-")) < BYTES


def test_content_that_is_not_the_checksums_is_refused_removed_and_fetched_again(models, hub):
    hub.wrong = ("model.safetensors",)
    ended = models("fetch")
    assert ended.returncode == 2
    assert "the checksum of model.safetensors is wrong; fetch it again" in ended.stderr
    assert json.loads(models("show", "--json").stdout)["stored"]["missing"] == ["model.safetensors"]
    hub.wrong = ()
    assert models("fetch").returncode == 0


def test_a_gated_model_names_where_its_terms_are_accepted(models, hub):
    hub.is_gated = True
    ended = models("fetch")
    assert ended.returncode == 2
    assert "lab/tiny is gated; accept its terms at" in ended.stderr and ended.stderr.count("reasonseg:") == 1


def test_an_unknown_model_and_a_hub_that_is_away_are_one_line(models, hub, tmp_path):
    (tmp_path / "tiny.yaml").write_text("kind: segmenter\nsource: lab/other\n")
    assert "the hub has no model lab/other" in models("fetch").stderr
    hub.close()
    ended = models("fetch", HF_HUB_ETAG_TIMEOUT="1")
    assert ended.returncode == 2 and "cannot be fetched" in ended.stderr.splitlines()[-1]


def test_offline_nothing_is_asked(models):
    ended = models("fetch", HF_HUB_OFFLINE="1")
    assert ended.returncode == 2 and "HF_HUB_OFFLINE is set" in ended.stderr


def test_a_model_that_is_here_is_loaded_without_asking_the_hub(models, hub):
    folder = Path(find_card("tabletop-segmenter").source)
    hub.files = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    assert models("fetch").returncode == 0
    asked = hub.asked
    ended = models("check")
    assert "3 of 3 masks" in ended.stdout, ended.stderr  # the known picture is not of its world
    assert hub.asked == asked


def test_a_model_that_is_a_folder_is_not_fetched():
    with pytest.raises(ModelError, match="nothing to fetch"):
        plan(load_card("tabletop-reasoner", "reasoner"))
