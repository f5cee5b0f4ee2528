import json

import cv2
import numpy as np
import pytest
import yaml
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from reasonseg_ros import cli
from reasonseg_ros.bags import Record, decoded
from reasonseg_ros.bags.records import Topic
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.bag_messages import bag_names, read_bags

OLDER = "string query_id\nstring text"


def query_record(definition, message_type="reasonseg_ros/msg/Query"):
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(OLDER, "reasonseg_ros/msg/Query"))
    message = store.types["reasonseg_ros/msg/Query"](query_id="a", text="which one?")
    data = bytes(store.serialize_cdr(message, message.__msgtype__))
    return Record(Topic("/query", message_type, definition), 0, data)


def test_messages_of_another_version_are_read_by_the_bags_own_definition():
    message = decoded(query_record(OLDER))
    assert (message.query_id, message.text) == ("a", "which one?")


@pytest.mark.parametrize("definition", ["", " \n", "Foo bar", "=====", "\0"])
def test_without_a_definition_that_can_be_used_it_is_this_versions(definition):
    with pytest.raises(InvalidInput, match="reasonseg_ros/msg/Query"):
        decoded(query_record(definition))


def test_ids_of_several_bags_begin_with_the_names_of_the_bags(make_bag, samples_of):
    whole = make_bag([samples_of("a"), samples_of("b")], name="one")
    damaged = make_bag([samples_of("a"), samples_of("b", image=1)], change=lambda m: m[1:], name="two")
    clips = list(read_bags([whole, damaged, whole]))
    ids = [part.sample_id for clip in clips for part in (*clip.samples, *clip.unreadable)]
    assert ids == ["one/a", "one/b", "two/b", "two/a", "one#2/a", "one#2/b"]
    assert [lost.reason[:5] for clip in clips for lost in clip.unreadable] == ["two: "]
    assert [clip.bag for clip in clips] == ["one", "one", "two", "two", "one#2", "one#2"]
    assert clips[0].expression == "one/a"
    assert [clip.samples[0].sample_id for clip in read_bags([whole])] == ["a", "b"]
    images = [clip for clip in read_bags([whole, whole], with_images=True) if not clip.count]
    assert [(clip.bag, clip.frames[0].sample_id) for clip in images] == [("one", ""), ("one#2", "")]


def test_equal_names_are_numbered(tmp_path):
    folders = [tmp_path / "x" / "bag", tmp_path / "y" / "bag", tmp_path / "bag#2", tmp_path / "z" / "bag"]
    assert bag_names(folders) == ["bag", "bag#2", "bag#2#2", "bag#3"]


def test_fewer_messages_than_counted_end_evaluate_and_score_with_both_numbers(
    make_bag, samples_of, scripted, answer_text, tmp_path, monkeypatch, capsys
):
    method = scripted(answer_text((8, 8, 24, 24)))
    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", lambda config, **_: method)
    bag, out, masks = make_bag([samples_of("a"), samples_of("b")]), tmp_path / "out", tmp_path / "masks"
    masks.mkdir()
    mask = np.zeros((48, 64), np.uint8)
    mask[8:24, 8:24] = 255
    for name in "ab":
        cv2.imwrite(str(masks / f"{name}.png"), mask)
    score = ["score", "--predictions", str(masks), "--targets", str(bag)]
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 0
    assert cli.main(score) == 0
    metadata = bag / "metadata.yaml"
    described = yaml.safe_load(metadata.read_text())
    for topic in described["rosbag2_bagfile_information"]["topics_with_message_count"]:
        topic["message_count"] += 5 * (topic["topic_metadata"]["name"] == "/reasonseg/ground_truth")
    metadata.write_text(yaml.safe_dump(described))
    reported = "/reasonseg/ground_truth: 2 of the 7 messages that metadata.yaml counts were read"
    capsys.readouterr()
    assert cli.main(["evaluate", str(bag), "--out", str(tmp_path / "again")]) == 1
    shown = capsys.readouterr()
    assert reported in " ".join((shown.out + shown.err).split())
    summary = json.loads((tmp_path / "again" / "summary.json").read_text())
    assert [(item["reason"], item["samples"]) for item in summary["unreadable"]] == [(reported, 5)]
    assert cli.main(score) == 1
    assert reported in capsys.readouterr().err
