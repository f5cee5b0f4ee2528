from reasonseg_ros.evaluation.damaged_bag import mcap_files


def test_the_parts_of_a_long_recording_come_in_the_order_of_their_numbers(tmp_path):
    names = ["bag_0.mcap", "bag_1.mcap", "bag_2.mcap", "bag_9.mcap", "bag_10.mcap", "bag_11.mcap", "bag_100.mcap"]
    for name in reversed(names):
        (tmp_path / name).touch()
    (tmp_path / "metadata.yaml").touch()
    assert [path.name for path in mcap_files(tmp_path)] == names


def test_names_without_numbers_are_ordered_too(tmp_path):
    for name in ("b.mcap", "7.mcap", "a.mcap", "a_1.mcap"):
        (tmp_path / name).touch()
    assert [path.name for path in mcap_files(tmp_path)] == ["7.mcap", "a.mcap", "a_1.mcap", "b.mcap"]
