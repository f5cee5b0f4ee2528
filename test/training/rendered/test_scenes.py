import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.rendered.scenes import SceneFiles, write_chunk


def test_scenes_come_back_as_they_were_written(make_scene, tmp_path):
    scenes = [make_scene(seed) for seed in (3, 4)]
    write_chunk(scenes, tmp_path / "scenes_0000000003")
    files = SceneFiles(tmp_path)
    assert len(files) == 2
    for stored, scene in zip((files[0], files[1]), scenes, strict=True):
        assert stored.seed == scene.seed
        assert stored.objects == scene.objects
        assert stored.parts == scene.parts
        np.testing.assert_array_equal(stored.rgb, scene.rgb)
        np.testing.assert_array_equal(stored.instance_ids, scene.instance_ids)
        np.testing.assert_array_equal(stored.part_ids, scene.part_ids)


def test_chunks_are_found_when_they_are_complete(make_scene, tmp_path):
    write_chunk([make_scene(0)], tmp_path / "scenes_0000000000")
    files = SceneFiles(tmp_path)
    (tmp_path / ".scenes_0000000200.77").mkdir()  # one that is being written
    files.refresh()
    assert len(files) == 1
    write_chunk([make_scene(200)], tmp_path / "scenes_0000000200")
    files.refresh()
    assert [files[i].seed for i in range(len(files))] == [0, 200]


def test_an_empty_folder_says_how_to_fill_it(tmp_path):
    with pytest.raises(InvalidInput, match="reasonseg train scenes"):
        SceneFiles(tmp_path)
