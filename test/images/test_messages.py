"""Every encoding against one known picture, with padding and both byte orders; every fault by its reason."""

import contextlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sensor_msgs.msg", reason="needs ROS 2")
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images import encodings as pixel_encodings
from reasonseg_ros.images import messages as images

HEIGHT, WIDTH = 12, 16
HEADER = Header(stamp=Time(sec=3, nanosec=4), frame_id="optical")


def smooth_rgb():
    """Large even patches, so that sub-sampled colour and Bayer patterns can be compared inside of them."""
    colours = np.array([[(200, 40, 90), (20, 180, 60)], [(90, 90, 90), (250, 240, 10)]], np.uint8)
    return np.kron(colours, np.ones((HEIGHT // 2, WIDTH // 2, 1), np.uint8))


def message(pixels, encoding, padding=0, big=False):
    """An Image of [H, W] or [H, W, C], each row followed by `padding` bytes of rubbish."""
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(len(pixels), -1)
    rows = np.concatenate([rows, np.full((len(rows), padding), 0xAB, np.uint8)], axis=1)
    return Image(
        header=HEADER,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=rows.shape[1],
        is_bigendian=int(big),
        data=rows.tobytes(),
    )


def yuv422(rgb, order):
    """Packed 4:2:2 from the full-range formula that OpenCV inverts."""
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_YUYV if order == "yuyv" else cv2.COLOR_RGB2YUV_UYVY)
    return yuv.reshape(*rgb.shape[:2], 2)


def bayer(rgb, pattern):
    """The mosaic that a sensor with `pattern` (row by row) delivers."""
    mosaic = np.empty(rgb.shape[:2], rgb.dtype)
    for index, colour in enumerate(pattern):
        row, column = divmod(index, 2)
        mosaic[row::2, column::2] = rgb[row::2, column::2, "rgb".index(colour)]
    return mosaic


RGB = smooth_rgb()
GREY = RGB[:, :, 1]
ALPHA = np.full((HEIGHT, WIDTH, 1), 7, np.uint8)
EXACT = {
    "rgb8": RGB,
    "bgr8": RGB[:, :, ::-1],
    "rgba8": np.concatenate([RGB, ALPHA], 2),
    "bgra8": np.concatenate([RGB[:, :, ::-1], ALPHA], 2),
    "rgb16": RGB.astype(np.uint16) * 257,
    "bgr16": RGB[:, :, ::-1].astype(np.uint16) * 257,
    "rgba16": np.concatenate([RGB, ALPHA], 2).astype(np.uint16) * 257,
    "bgra16": np.concatenate([RGB[:, :, ::-1], ALPHA], 2).astype(np.uint16) * 257,
}
PATTERNS = ("rggb", "bggr", "gbrg", "grbg")
ALL = {
    **EXACT,
    "mono8": GREY,
    "mono16": GREY.astype(np.uint16) * 257,
    **{f"bayer_{pattern}8": bayer(RGB, pattern) for pattern in PATTERNS},
    **{f"bayer_{pattern}16": bayer(RGB.astype(np.uint16) * 257, pattern) for pattern in PATTERNS},
    "yuv422": yuv422(RGB, "uyvy"),
    "uyvy": yuv422(RGB, "uyvy"),
    "yuv422_yuy2": yuv422(RGB, "yuyv"),
    "yuyv": yuv422(RGB, "yuyv"),
}


def test_the_table_covers_every_encoding():
    assert set(ALL) == {*pixel_encodings.ENCODINGS, "uyvy", "yuyv"}
    assert set(PLANAR) == set(pixel_encodings.PLANAR)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 10])
@pytest.mark.parametrize("encoding", ALL)
def test_each_encoding_gives_the_same_colours(encoding, padding, big):
    rgb = images.rgb_from_image(message(np.ascontiguousarray(ALL[encoding]), encoding, padding, big))
    assert rgb.dtype == np.uint8
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    assert rgb.flags.writeable
    expected = np.repeat(GREY[:, :, None], 3, 2) if encoding.startswith("mono") else RGB
    if encoding in EXACT or encoding.startswith("mono"):
        np.testing.assert_array_equal(rgb, expected)
        return
    # Inside the patches, away from their borders, where neighbours mix.
    for rows in (slice(2, 4), slice(8, 10)):
        for columns in (slice(2, 6), slice(10, 14)):
            np.testing.assert_allclose(rgb[rows, columns].astype(int), expected[rows, columns], atol=6)


def planes(rgb):
    """Brightness [H, W] and U, V of each 2 x 2 pixels [H / 2, W / 2], as OpenCV makes them."""
    height, width = rgb.shape[:2]
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    brightness, u, v = np.split(yuv, [height * width, height * width * 5 // 4])
    return brightness.reshape(height, width), u.reshape(height // 2, -1), v.reshape(height // 2, -1)


def doubled(plane):
    return np.kron(plane, np.ones((2, 2), np.uint8))


Y, U, V = planes(RGB)
PLANAR = {
    "nv12": np.dstack([U, V]).reshape(HEIGHT // 2, WIDTH),
    "nv21": np.dstack([V, U]).reshape(HEIGHT // 2, WIDTH),
    "nv24": np.dstack([doubled(U), doubled(V)]).reshape(HEIGHT, 2 * WIDTH),
}


def planar_message(encoding, padding=0):
    colour = PLANAR[encoding].reshape(-1, WIDTH)
    if encoding == "nv24":  # a row of its colours has twice the step
        colour = np.pad(PLANAR[encoding], ((0, 0), (0, 2 * padding)), constant_values=0xAB).reshape(-1, WIDTH + padding)
    else:
        colour = np.pad(colour, ((0, 0), (0, padding)), constant_values=0xAB)
    rows = np.vstack([np.pad(Y, ((0, 0), (0, padding)), constant_values=0xAB), colour])
    fields = {"height": HEIGHT, "width": WIDTH, "step": WIDTH + padding, "encoding": encoding}
    return Image(header=HEADER, data=rows.tobytes(), **fields)


@pytest.mark.parametrize("padding", [0, 10])
@pytest.mark.parametrize("encoding", PLANAR)
def test_planes_of_brightness_and_colour_give_the_same_colours(encoding, padding):
    rgb = images.rgb_from_image(planar_message(encoding, padding))
    assert rgb.shape == (HEIGHT, WIDTH, 3) and rgb.dtype == np.uint8
    np.testing.assert_allclose(rgb.astype(int), RGB, atol=4)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"data": Y.tobytes()}, "truncated image"),
        ({"data": bytes(planar_message("nv12").data) + bytes(WIDTH)}, "wrong step"),
        ({"step": WIDTH - 1}, "wrong step"),
        ({"width": WIDTH - 1}, "odd width"),
        ({"height": HEIGHT - 1, "data": bytes(WIDTH * (HEIGHT - 1 + HEIGHT // 2 - 1))}, "odd height"),
    ],
)
def test_each_fault_of_planes_has_its_reason(fields, reason):
    picture = planar_message("nv12")
    for name, content in fields.items():
        setattr(picture, name, content)
    with pytest.raises(images.UnusableImage) as caught:
        images.rgb_from_image(picture)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("encoding", "remedy"),
    [("RGB8", "write 'rgb8'"), ("8UC3", "publish for example rgb8, bgr8"), ("16UC1", "publish it on the depth topic")],
)
def test_an_unsupported_encoding_is_reported_with_its_remedy(encoding, remedy):
    with pytest.raises(images.UnusableImage, match=remedy):
        images.check_image(message(RGB, encoding))


@pytest.mark.skipif(not pixel_encodings.has_cv_bridge(), reason="no cv_bridge that imports with the running numpy")
@pytest.mark.parametrize("encoding", ALL)
def test_cv_bridge_and_rosbags_image_give_the_same_pixels(encoding):
    noise = np.random.default_rng(1).integers(0, np.iinfo(ALL[encoding].dtype).max, ALL[encoding].shape)
    picture = message(noise.astype(ALL[encoding].dtype), encoding, padding=6)
    np.testing.assert_array_equal(
        images.rgb_from_image(picture, pixel_encodings.convert_with_cv_bridge),
        images.rgb_from_image(picture, pixel_encodings.convert_with_rosbags),
    )


def test_sixteen_bits_are_rounded_not_cut():
    values = np.array([[0, 128, 129, 65535]], np.uint16)
    assert images.rgb_from_image(message(values, "mono16"))[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize(("top", "is_dark"), [(0, True), (4095, True), (5000, False), (65535, False)])
def test_sixteen_bit_images_of_a_twelve_bit_camera_are_recognised(top, is_dark):
    pixels = np.full((4, 4), top, np.uint16)
    coded = CompressedImage(format="mono16; png compressed ", data=cv2.imencode(".png", pixels)[1].tobytes())
    for picture in (message(pixels, "mono16"), coded):
        assert images.is_dark_16bit(picture, images.frame_from_message(picture).rgb) is is_dark
    assert not images.is_dark_16bit(message(RGB * 0, "rgb8"), RGB * 0)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("pixels", [RGB, GREY], ids=["colour", "grey"])
def test_compressed_images(suffix, pixels):
    data = cv2.imencode(suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels, [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    frame = images.frame_from_message(CompressedImage(header=HEADER, format="any", data=data.tobytes()))
    expected = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, 2)
    np.testing.assert_allclose(frame.rgb.astype(int)[2:4, 2:6], expected[2:4, 2:6], atol=4)
    assert (frame.stamp_ns, frame.frame_id) == (3_000_000_004, "optical")


JPEG = cv2.imencode(".jpg", RGB)[1].tobytes()
PNG = cv2.imencode(".png", RGB)[1].tobytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "unknown encoding"),
        (b"GIF89a......", "unknown encoding"),
        (JPEG[:-30], "truncated image"),
        (PNG[:-30], "truncated image"),
        (JPEG[:4] + bytes(50) + JPEG[-2:], "damaged image"),
        (PNG[:8] + bytes(20) + PNG[-12:], "damaged image"),
    ],
)
def test_damaged_compressed_images_are_named(data, reason):
    with pytest.raises(images.UnusableImage) as caught:
        images.rgb_from_compressed(CompressedImage(format="jpeg", data=data))
    assert caught.value.reason == reason


def test_jpeg_padded_after_its_end_is_read():
    assert images.rgb_from_compressed(CompressedImage(data=JPEG + bytes(16))).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"data": b""}, "truncated image"),
        ({"data": RGB.tobytes()[:-1]}, "truncated image"),
        ({"step": 0}, "wrong step"),
        ({"step": WIDTH * 3 - 1}, "wrong step"),
        ({"height": HEIGHT - 1}, "wrong step"),
        ({"step": WIDTH * 3 + 1}, "truncated image"),
        ({"height": 2**32 - 1, "step": 2**32 - 1, "width": 1}, "truncated image"),
        ({"width": 0}, "zero size"),
        ({"height": 0}, "zero size"),
        ({"encoding": ""}, "unknown encoding"),
        ({"encoding": "RGB8"}, "unknown encoding"),
        ({"encoding": "8UC3"}, "unknown encoding"),
        ({"encoding": "16UC1"}, "depth encoding"),
        ({"header": Header(stamp=Time(sec=1, nanosec=1_000_000_000))}, "bad stamp"),
        ({"header": Header(stamp=Time(sec=-1))}, "bad stamp"),
    ],
)
def test_each_fault_of_an_image_has_its_reason(fields, reason):
    picture = message(RGB, "rgb8")
    for name, content in fields.items():
        setattr(picture, name, content)
    with pytest.raises(images.UnusableImage) as caught:
        images.rgb_from_image(picture)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{reason}: ")


def test_a_mosaic_too_small_for_its_colours_is_refused():
    with pytest.raises(images.UnusableImage, match="too few"):
        images.rgb_from_image(message(np.full((2, 8), 200, np.uint8), "bayer_rggb8"))


def test_odd_width_of_shared_colour_is_refused():
    with pytest.raises(images.UnusableImage, match="odd width"):
        images.rgb_from_image(message(np.zeros((4, 5, 2), np.uint8), "yuyv"))


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 40),
    st.sampled_from([*ALL, "8UC4", "32FC1"]),
    st.booleans(),
    st.binary(max_size=300),
)
def test_any_message_gives_an_image_or_a_reason(height, width, step, encoding, big, data):
    fields = {"height": height, "width": width, "step": step, "encoding": encoding, "is_bigendian": int(big)}
    picture = SimpleNamespace(header=HEADER, data=data, **fields)
    with contextlib.suppress(InvalidInput):
        assert images.rgb_from_image(picture).shape == (height, width, 3)


@pytest.mark.parametrize("big", [False, True])
def test_depth_in_millimetres_and_in_metres(big):
    millimetres = np.array([[0, 1500], [65535, 1]], np.uint16)
    depth_m = images.depth_from_image(message(millimetres, "16UC1", padding=2, big=big))
    np.testing.assert_array_equal(depth_m, millimetres.astype(np.float32) / 1000)
    metres = np.array([[np.nan, 1.5], [np.inf, 0.25]], np.float32)
    depth_m = images.depth_from_image(message(metres, "32FC1", padding=4, big=big))
    np.testing.assert_array_equal(depth_m, np.array([[np.nan, 1.5], [np.nan, 0.25]], np.float32))


@pytest.mark.parametrize(
    ("pixels", "encoding", "reason"),
    [
        (np.full((2, 2), np.nan, np.float32), "32FC1", "empty depth"),
        (np.zeros((2, 2), np.uint16), "16UC1", "empty depth"),
        (np.zeros((2, 2, 3), np.uint8), "rgb8", "unknown depth encoding"),
    ],
)
def test_depth_without_one_known_pixel_is_refused(pixels, encoding, reason):
    with pytest.raises(images.UnusableImage) as caught:
        images.depth_from_image(message(pixels, encoding))
    assert caught.value.reason == reason


def test_depth_and_calibration_of_another_size_are_left_out_and_the_frame_says_why():
    info = CameraInfo(width=WIDTH, height=HEIGHT, k=[9.0, 0.0, 8.0, 0.0, 9.0, 6.0, 0.0, 0.0, 1.0])
    picture = message(RGB, "rgb8")
    frame = images.frame_from_message(picture, np.ones((HEIGHT, WIDTH), np.float32), info)
    assert frame.depth_m is not None
    assert (frame.intrinsics.fx_px, frame.intrinsics.cx_px) == (9.0, 8.0)
    info.width += 1
    frame = images.frame_from_message(picture, np.ones((2, 2), np.float32), info)
    assert frame.depth_m is None
    assert frame.intrinsics is None
    assert "depth of another size: 2 x 2" in frame.warning_3d
    assert f"no camera_info: none of {WIDTH} x {HEIGHT}" in frame.warning_3d


@pytest.mark.parametrize(
    ("encoding", "pixels", "words"),
    [
        ("32FC1", [[0.4, 1.5], [np.nan, 7.0]], ""),
        ("32FC1", [[400, 1500], [np.nan, 7000]], "publish millimetres as 16UC1"),
        ("16UC1", [[400, 1500], [0, 7000]], ""),
        ("16UC1", [[1, 2], [0, 7]], "publish metres as 32FC1"),
        ("32FC1", [[np.inf, 60.0], [5.0, np.inf]], ""),
    ],
)
def test_depth_in_another_unit_is_doubted(encoding, pixels, words):
    values = np.kron(np.array(pixels), np.ones((8, 8))).astype(images.DEPTH_ENCODINGS[encoding])
    found = images.depth_doubt(images.depth_from_image(message(values, encoding)))
    assert words in found and bool(words) == bool(found)
