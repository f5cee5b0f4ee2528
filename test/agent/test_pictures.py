import cv2
import numpy as np
import pytest

from reasonseg_ros.agent.pictures import MOST_BYTES, jpeg_within


def decoded(data):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize(
    ("size_wh", "scaled_wh"), [((640, 480), (320, 240)), ((100, 3000), (11, 320)), ((64, 48), (64, 48))]
)
def test_pictures_are_scaled_down_and_never_up(size_wh, scaled_wh):
    rgb = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    rgb[:, :, 0] = 200
    small = decoded(jpeg_within(rgb, 320))
    assert small.shape[1::-1] == scaled_wh
    np.testing.assert_allclose(small.reshape(-1, 3).mean(0), [200, 0, 0], atol=4)


def test_a_picture_that_compresses_badly_gets_smaller():
    noise = np.random.default_rng(1).integers(0, 256, (1600, 1600, 3), np.uint8)
    data = jpeg_within(noise, 1600)
    assert len(data) <= MOST_BYTES and decoded(data).shape[0] < 1600
