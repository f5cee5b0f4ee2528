from __future__ import annotations

import json
from pathlib import Path

import pytest

from reasonseg_ros.errors import ModelError
from reasonseg_ros.model_card import card_names, load_card, read_card


@pytest.mark.parametrize("kind", ["reasoner", "segmenter"])
def test_every_shipped_card_is_read_by_its_name(kind: str) -> None:
    names = card_names(kind)
    assert f"tabletop-{kind}" in names
    for name in names:
        card = load_card(name, kind)
        assert card.name == name
        assert card.is_folder == name.startswith("tabletop")


def test_prompts_hold_an_example_that_their_own_dialect_reads() -> None:
    from reasonseg_ros.reasoner.dialects.parsing import parse_answer

    for name in card_names("reasoner"):
        card = load_card(name, "reasoner")
        if card.prompt != "{query}":
            example = parse_answer(card.prompt.partition("for example")[2], (640, 480), dialect=card.dialect)
            assert example.groundings, name
            assert example.error == "", name


def test_a_folder_of_the_yaml_is_found_from_the_yaml(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: segmenter\nsource: ./weights\nimage_size: 512\n")
    card = load_card(str(path), "segmenter")
    assert (card.name, card.source, card.image_size) == ("mine", str(tmp_path / "weights"), 512)


def test_a_folder_may_hold_its_own_card(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("kind: segmenter\nsource: .\n")
    card = load_card(str(tmp_path), "segmenter")
    assert (card.name, card.source) == (tmp_path.name, str(tmp_path))


@pytest.mark.parametrize(
    ("folder_name", "model_type", "kind", "dialect"),
    [
        ("my-finetune", "qwen2_5_vl", "reasoner", "qwen2.5-vl"),
        ("Seg-Zero-3B", "qwen2_5_vl", "reasoner", "seg_zero"),
        ("VisionReasoner-3B", "qwen2_5_vl", "reasoner", "vision_reasoner"),
        ("x", "qwen3_vl", "reasoner", "qwen3-vl"),
        ("x", "sam2_video", "segmenter", ""),
    ],
)
def test_a_bare_folder_is_guessed(tmp_path: Path, folder_name: str, model_type: str, kind: str, dialect: str) -> None:
    folder = tmp_path / folder_name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    card = load_card(str(folder), kind)
    assert (card.dialect, card.source) == (dialect, str(folder))


@pytest.mark.parametrize(
    ("folder_name", "model_type"),
    [
        ("seg-zero-on-qwen3-vl-4b", "qwen3_vl"),
        ("Seg-Zero-8B", "qwen3_vl"),
        ("my-qwen3-vl", "qwen2_5_vl"),
        ("qwen2.5-vl-to-qwen3-vl", "qwen3_vl"),
    ],
)
def test_a_name_that_its_config_contradicts_is_refused(tmp_path: Path, folder_name: str, model_type: str) -> None:
    (tmp_path / folder_name).mkdir()
    (tmp_path / folder_name / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(ModelError, match=r"qwen2_5_vl or qwen3_vl.*write a card\.yaml"):
        load_card(str(tmp_path / folder_name), "reasoner")
    with pytest.raises(ModelError, match=r"write a card\.yaml"):
        load_card("lab/Seg-Zero-Qwen3-VL-4B", "reasoner")


def test_hub_ids_are_known_or_guessed_by_name() -> None:
    assert load_card("ricky06662/visionreasoner-7b", "reasoner").name == "vision-reasoner-7b"
    guessed = load_card("someone/Qwen3-VL-2B-Instruct", "reasoner")
    assert (guessed.source, guessed.dialect) == ("someone/Qwen3-VL-2B-Instruct", "qwen3-vl")
    assert load_card("facebook/sam2-hiera-tiny", "segmenter").source == "facebook/sam2-hiera-tiny"


@pytest.mark.parametrize("name", ["", "no-such-model", "/no/such/folder", "./nowhere", "someone/some-model"])
def test_an_unknown_model_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ModelError, match=r"known: .*seg-zero-7b.*vision-reasoner-7b"):
        load_card(name, "reasoner")


def test_a_card_of_another_kind_is_refused() -> None:
    with pytest.raises(ModelError, match=r"sam2.1-tiny is a segmenter; expected a reasoner"):
        load_card("sam2.1-tiny", "reasoner")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("kind: camera", "kind = 'camera'"),
        ("dialect: latin", "dialect = 'latin'"),
        ("prompt: hello", "prompt = 'hello'"),
        ("image_size_wh: [224]", "image_size_wh"),
        ("image_size_wh: null", "image_size_wh"),
        ("max_new_tokens: 0", "max_new_tokens = 0"),
        ("max_new_tokens: yes", "max_new_tokens = True"),
        ("coordinates: feet", "coordinates = 'feet'"),
        ("colour: red", "known keys are"),
        ("min_pixels: -1", "min_pixels = -1"),
        ("max_pixels: 1000000000000", "max_pixels = 1000000000000; expected a whole number, 0 to 100000000"),
        ("image_size: 1000000", "image_size = 1000000; expected a whole number, 0 to 8192"),
        ("image_size_wh: [1000000, 1000000]", "each at most 8192"),
        ("max_new_tokens: 1000000000", "max_new_tokens = 1000000000"),
        ("needs_boxes: maybe", "needs_boxes = 'maybe'"),
        ("refine: yes", "refine = True"),
        ("refine: corners", "refine = 'corners'"),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, change: str, reason: str) -> None:
    lines = {"kind": "reasoner", "source": "a/b", "dialect": "seg_zero", "image_size_wh": "[840, 840]"}
    key, _, value = change.partition(": ")
    path = tmp_path / "bad.yaml"
    path.write_text("".join(f"{name}: {text}\n" for name, text in {**lines, key: value}.items()))
    with pytest.raises(ModelError, match="bad") as caught:
        read_card(path)
    assert reason in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"- a\n- b\n", b"kind: [", b"\xff\xfe", b"source: x\n"])
def test_a_damaged_card_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.yaml"):
        read_card(path)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"model_type": "llama"}'])
def test_a_folder_that_is_no_checkpoint_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_card(str(tmp_path), "reasoner")


def test_a_card_or_config_without_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match="nested deeper than 100 levels"):
        load_card(str(tmp_path), "reasoner")
    (tmp_path / "card.yaml").write_text("kind: " + "[" * 5000)
    with pytest.raises(ModelError, match="nested deeper than 100 levels"):
        load_card(str(tmp_path), "reasoner")
    laughs = ["kind: segmenter", "source: .", "name: x", "url: &a0 [x]"]
    laughs[3:] = ["url:", *(f"- &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'])}]" for n in range(30))]
    (tmp_path / "card.yaml").write_text("\n".join(line for line in laughs if not line.startswith("name")))
    with pytest.raises(ModelError, match="url = ") as reported:
        load_card(str(tmp_path), "segmenter")
    assert len(str(reported.value)) < 1000
