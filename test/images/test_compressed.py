"""Compressed images as image_transport's plugins and cameras write them: each kind by its pixels, or by its reason."""

import io
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from reasonseg_ros.images import messages as images
from reasonseg_ros.images.compressed import parse_format
from reasonseg_ros.images.files import decode_image
from reasonseg_ros.images.header import read_header
from test.images.compressed_samples import BGR, GREY, HEADER, HEIGHT, ORANGE, WIDTH, coded, compressed, mosaic, refusal

BAYER = [
    (f"bayer_{pattern}{bits}; {codec} compressed ", coded(suffix, mosaic(pattern, dtype)), ORANGE)
    for pattern in ("rggb", "bggr", "gbrg", "grbg")
    for bits, codec, suffix, dtype in (
        (8, "png", ".png", np.uint8),
        (8, "jpeg", ".jpg", np.uint8),
        (16, "png", ".png", np.uint16),
        (16, "jpeg", ".jpg", np.uint8),  # what a JPEG of 16 bits becomes
        (16, "tiff", ".tiff", np.uint16),
    )
]
READ = [
    ("rgb8; jpeg compressed bgr8", coded(".jpg", BGR), ORANGE),
    ("bgr8; jpeg compressed bgr8", coded(".jpg", BGR), ORANGE),
    ("rgb8; png compressed bgr8", coded(".png", BGR), ORANGE),
    ("bgra8; png compressed bgr8", coded(".png", np.dstack([BGR, GREY])), ORANGE),
    ("rgb16; png compressed bgr16", coded(".png", BGR.astype(np.uint16) * 257), ORANGE),
    ("rgb8; tiff compressed bgr8", coded(".tiff", BGR), ORANGE),
    ("rgb8; jpeg compressed rgb8", coded(".jpg", BGR), ORANGE),
    ("8UC1; jpeg compressed ", coded(".jpg", GREY), (90, 90, 90)),
    ("mono8; jpeg compressed ", coded(".jpg", GREY), (90, 90, 90)),
    ("mono16; png compressed ", coded(".png", GREY.astype(np.uint16) * 257), (90, 90, 90)),
    ("mono16; tiff compressed ", coded(".tiff", GREY.astype(np.uint16) * 257), (90, 90, 90)),
    ("yuv422; jpeg compressed bgr8", coded(".jpg", BGR), ORANGE),
    ("bayer_rggb8; jpeg compressed bgr8", coded(".jpg", BGR), ORANGE),  # colours before compression
    ("jpeg", coded(".jpg", BGR), ORANGE),
    ("png", coded(".png", BGR), ORANGE),
    ("webp", coded(".webp", BGR), ORANGE),
    ("", coded(".png", GREY), (90, 90, 90)),
    ("png", coded(".jpg", BGR), ORANGE),  # the bytes say which codec it is
    ("jpeg", coded(".png", BGR), ORANGE),
    ("bayer_rggb8", coded(".png", mosaic("rggb")), ORANGE),
    *BAYER,
]


@pytest.mark.parametrize(("text", "data", "rgb"), READ, ids=[f"{text}-{data[:4]!r}" for text, data, _ in READ])
def test_each_kind_of_compressed_image_gives_its_colours(text, data, rgb):
    picture = images.rgb_from_compressed(compressed(text, data))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture[2:-2, 2:-2].astype(int), np.broadcast_to(rgb, (44, 60, 3)), atol=4)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_compressed_mosaic_gives_the_pixels_of_the_raw_one(pattern):
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), np.uint8)
    fields = {"encoding": f"bayer_{pattern}8", "height": HEIGHT, "width": WIDTH, "step": WIDTH, "is_bigendian": 0}
    raw = SimpleNamespace(header=HEADER, data=pixels.tobytes(), **fields)
    read = images.rgb_from_compressed(compressed(f"bayer_{pattern}8; png compressed ", coded(".png", pixels)))
    np.testing.assert_array_equal(read, images.rgb_from_image(raw))


@pytest.mark.parametrize(
    ("text", "data", "reason"),
    [
        ("16UC1; png compressed ", coded(".png", GREY.astype(np.uint16)), "depth encoding"),
        ("32FC1; tiff compressed ", coded(".tiff", GREY.astype(np.float32)), "depth encoding"),
        ("16UC1; jpeg compressed ", coded(".jpg", GREY), "depth encoding"),
        ("16UC1; compressedDepth png", bytes(12) + coded(".png", GREY.astype(np.uint16)), "depth encoding"),
        ("png", coded(".png", GREY.astype(np.uint16)), "depth encoding"),
        ("", coded(".tiff", GREY.astype(np.float32)), "unknown encoding"),
        ("h264", b"\0\0\0\1gB", "unknown encoding"),
        ("jpeg", b"", "unknown encoding"),
        ("bayer_xxxx8; png compressed ", coded(".png", GREY), "unknown encoding"),
        ("yuv422; png compressed ", coded(".png", GREY), "conversion failed"),
        ("8UC3; jpeg compressed ", coded(".jpg", BGR), "unknown encoding"),
        ("8UC4; png compressed ", coded(".png", BGR), "unknown encoding"),
        ("16UC3; png compressed ", coded(".png", BGR.astype(np.uint16)), "unknown encoding"),
    ],
)
def test_what_is_no_colour_image_is_refused_with_its_reason(text, data, reason):
    assert refusal(lambda: images.rgb_from_compressed(compressed(text, data))) == reason


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp"])
@pytest.mark.parametrize("padding", [bytes(1), bytes(64), bytes(4096), b"\xab" * 300])
def test_bytes_after_the_image_are_accepted(suffix, padding):
    picture = compressed("", coded(suffix, BGR) + padding)
    images.check_compressed(picture)
    np.testing.assert_allclose(images.rgb_from_compressed(picture)[20, 20], ORANGE, atol=4)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp"])
def test_a_cut_image_is_refused_at_every_length(suffix):
    whole = coded(suffix, np.random.default_rng(1).integers(0, 255, (16, 16, 3), np.uint8))
    for length in range(0, len(whole) - 12, 7):
        reason = refusal(lambda cut=whole[:length]: images.rgb_from_compressed(compressed("", cut)))
        assert reason in ("truncated image", "damaged image", "unknown encoding", "zero size")


def photograph(orientation, with_thumbnail=False):
    """A JPEG whose EXIF data turn it, and hold a small JPEG with a separate end mark."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:8, :8] = 255
    buffer = io.BytesIO()
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    comment = coded(".jpg", GREY[:8, :8]) if with_thumbnail else b""
    Pillow.fromarray(pixels).save(buffer, "JPEG", exif=exif, comment=comment)
    return buffer.getvalue()


TURNED = [
    np.random.default_rng(4).integers(0, 255, shape).astype(dtype)
    for shape, dtype in [((6, 9), np.uint8), ((6, 9, 3), np.uint8), ((6, 9), np.uint16), ((6, 9), np.float32)]
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", TURNED)
def test_a_tiff_from_a_camera_is_not_turned_and_an_image_file_is(pixels, orientation):
    # OpenCV itself turns every TIFF, whether it is asked to ignore the orientation or not.
    buffer = io.BytesIO()
    plain = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
    Pillow.fromarray(plain).save(buffer, "TIFF", tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(decode_image(buffer.getvalue()), pixels)
    turned = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(buffer.getvalue()))))
    upright = decode_image(buffer.getvalue(), upright=True)
    np.testing.assert_array_equal(upright if upright.ndim == 2 else upright[..., ::-1], turned)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_cameras_pixels_stay_where_its_calibration_has_them(orientation):
    rgb = images.rgb_from_compressed(compressed("jpeg", photograph(orientation)))
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    assert rgb[2, 2].min() > 200


def test_the_end_mark_of_a_thumbnail_does_not_hide_a_cut_image():
    whole = photograph(1, with_thumbnail=True)
    assert images.rgb_from_compressed(compressed("jpeg", whole)).shape == (HEIGHT, WIDTH, 3)
    assert refusal(lambda: images.check_compressed(compressed("jpeg", whole[:-40]))) == "truncated image"


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width, height):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def tiff_header(width, height):
    entries = struct.pack("<HHIIHHII", 256, 4, 1, width, 257, 4, 1, height)
    return struct.pack("<2sHIH", b"II", 42, 8, 2) + entries + bytes(4)


HUGE = {
    "png": png_header(30_000, 30_000),
    "jpeg": b"\xff\xd8\xff\xc0\0\x0b\x08\xea\x60\xea\x60\x01\x01\x11\0\xff\xda\0\x02\xff\xd9",
    "webp": b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X\x0a\0\0\0\0\0\0\0\x2f\x75\0\x2f\x75\0",
    "tiff": tiff_header(30_000, 30_000),
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 30_000, -30_000) + bytes(28),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_image_is_refused_by_its_header(name, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    assert read_header(HUGE[name]).format == name
    assert refusal(lambda: images.check_compressed(compressed("", HUGE[name]))) == "too large"
    assert refusal(lambda: images.rgb_from_compressed(compressed("", HUGE[name]))) == "too large"
    text = "16UC1; png compressed "
    assert refusal(lambda: images.depth_from_image(compressed(text, HUGE[name]))) == "too large"


def test_a_jpeg_of_endless_scans_and_a_tiff_of_huge_tiles_are_refused():
    whole = coded(".jpg", BGR)
    scan = whole.index(b"\xff\xda")
    scans = whole[:scan] + 200 * whole[scan:-2] + whole[-2:]
    assert refusal(lambda: images.check_compressed(compressed("jpeg", scans))) == "damaged image"
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), (322, 4, 1, 30_000), (323, 4, 1, 30_000)]
    tiles = struct.pack("<2sHIH", b"II", 42, 8, 4) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    assert refusal(lambda: images.check_compressed(compressed("tiff", tiles))) == "too large"


def test_the_limit_on_pixels_counts_every_message():
    grey = compressed("mono8; png compressed ", coded(".png", GREY))
    fields = {"encoding": "mono8", "height": HEIGHT, "width": WIDTH, "step": WIDTH, "is_bigendian": 0}
    raw = SimpleNamespace(header=HEADER, data=GREY.tobytes(), **fields)
    for message in (grey, raw):
        assert images.frame_from_message(message, max_megapixels=HEIGHT * WIDTH / 1e6).size_wh == (WIDTH, HEIGHT)
        assert refusal(lambda one=message: images.frame_from_message(one, max_megapixels=0.003)) == "too large"


@given(st.sampled_from([*HUGE, "cut"]), st.binary(max_size=60), st.integers(0, 40))
def test_any_bytes_have_a_size_or_a_reason(name, rubbish, kept):
    try:
        width, height = read_header((HUGE.get(name) or coded(".jpg", BGR))[:kept] + rubbish).size_wh
    except images.UnusableImage:
        return
    assert min(width, height) > 0


@pytest.mark.parametrize(("mode", "options"), [
    ("RGB", {"format": "PNG"}), ("1", {"format": "PNG"}), ("RGB", {"format": "JPEG"}),
    ("RGB", {"format": "JPEG", "progressive": True}), ("CMYK", {"format": "JPEG"}), ("L", {"format": "WEBP"}),
    ("RGB", {"format": "WEBP", "lossless": True}), ("RGBA", {"format": "WEBP", "lossless": True}),
    ("RGB", {"format": "TIFF"}), ("RGB", {"format": "TIFF", "compression": "tiff_lzw"}), ("RGB", {"format": "BMP"}),
])  # fmt: skip
def test_the_header_has_the_size_that_pillow_wrote(mode, options):
    buffer = io.BytesIO()
    Pillow.new("RGB", (53, 37), ORANGE).convert(mode).save(buffer, **options)
    assert read_header(buffer.getvalue()).size_wh == (53, 37)


def test_the_format_is_parsed():
    assert parse_format("bgr8; jpeg compressed bgr8").encoding == "bgr8"
    assert parse_format("jpeg").encoding == ""
    assert parse_format("32FC1; compressedDepth png").is_depth
    assert parse_format("16UC1; compressedDepth rvl").is_rvl
    assert not parse_format("mono16; png compressed ").is_depth
