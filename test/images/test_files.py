"""Image files: what is read, how, and why the others are not."""

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.files import read_image, write_image

RGB = np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.webp"])
def test_lossless_files_are_read_exactly(tmp_path, name):
    Pillow.fromarray(RGB).save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    np.testing.assert_array_equal(read_image(tmp_path / name), RGB)


def test_grey_alpha_and_sixteen_bits_become_three_channels_of_eight(tmp_path):
    grey = RGB[..., 0]
    cases = {"grey.png": grey, "deep.png": grey.astype(np.uint16) * 257, "alpha.png": np.dstack([grey] * 4)}
    for name, pixels in cases.items():
        cv2.imwrite(str(tmp_path / name), pixels)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.dstack([grey] * 3))


def tiff(pixels, photometric=None):
    """A TIFF of Pillow's, whose PhotometricInterpretation (tag 262, a short) is changed."""
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "TIFF")
    data = bytearray(buffer.getvalue())
    if photometric is not None:
        place = data.index(struct.pack("<HHI", 262, 3, 1)) + 8
        struct.pack_into("<H", data, place, photometric)
    return bytes(data)


def test_a_tiff_whose_zero_is_white_is_read_as_pillow_reads_it_or_refused(tmp_path):
    path = tmp_path / "a.tiff"
    path.write_bytes(tiff(RGB[..., 0], 0))
    with Pillow.open(path) as image:
        shown = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(path), shown)
    assert (shown[..., 0] == 255 - RGB[..., 0]).all()
    path.write_bytes(tiff(RGB[..., 0].astype(np.uint16) * 257, 0))  # of which OpenCV gives the negative
    with pytest.raises(InvalidInput, match="TIFF of 16 bits whose 0 is white"):
        read_image(path)
    path.write_bytes(tiff(RGB[..., 0].astype(np.uint16) * 257))
    np.testing.assert_array_equal(read_image(path)[..., 0], RGB[..., 0])


@pytest.mark.parametrize("photometric", [8, 9, 10, 32803, 32845])
def test_a_tiff_of_another_colour_space_is_refused(tmp_path, photometric):
    (tmp_path / "a.tiff").write_bytes(tiff(RGB, photometric))
    with pytest.raises(InvalidInput, match=f"TIFF of colour space {photometric}; save it as RGB or grey"):
        read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_whose_bits_opencv_does_not_scale_is_refused(tmp_path, bits, channels):
    data = bytearray(tiff(RGB if channels == 3 else RGB[..., 0]))
    place = data.index(struct.pack("<HHI", 258, 3, channels)) + 8
    if channels == 3:
        place = struct.unpack_from("<I", data, place)[0]
    struct.pack_into(f"<{channels}H", data, place, *[bits] * channels)
    (tmp_path / "a.tiff").write_bytes(data)
    with pytest.raises(InvalidInput, match=f"TIFF of {bits} bits; save it with 8 or 16 bits"):
        read_image(tmp_path / "a.tiff")


def masked_bmp(header_bytes, masks):
    """A BMP of 32 bits whose masks say where red, green and blue are; they follow a header of 40 bytes."""
    values = sum(
        (RGB[::-1, :, at].astype(np.uint32) << ((mask & -mask).bit_length() - 1)) for at, mask in enumerate(masks)
    ).astype("<u4")
    head = struct.pack("<IiiHHIIiiII", header_bytes, 20, 12, 1, 32, 3, values.nbytes, 0, 0, 0, 0)
    head = (head + struct.pack("<III", *masks)).ljust(header_bytes, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + values.nbytes, 0, 0, 14 + len(head)) + head + values.tobytes()


@pytest.mark.parametrize("header_bytes", [40, 52, 56, 108, 124])
@pytest.mark.parametrize("masks", [(0xFF0000, 0xFF00, 0xFF), (0xFF, 0xFF00, 0xFF0000), (0xFF000000, 0xFF0000, 0xFF00)])
def test_a_bmp_with_colour_masks_is_read_by_them_or_refused(tmp_path, header_bytes, masks):
    (tmp_path / "a.bmp").write_bytes(masked_bmp(header_bytes, masks))
    if header_bytes < 56 and masks[0] != 0xFF0000:  # OpenCV ignores these masks, and swaps red and blue
        with pytest.raises(InvalidInput, match=r"BMP with the colour masks (000000ff|ff000000)"):
            read_image(tmp_path / "a.bmp")
    else:
        np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), RGB)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_of_16_bits_that_uses_only_12_is_refused_as_nearly_black(tmp_path, channels):
    pixels = RGB.astype(np.uint16) * 16 if channels == 3 else RGB[..., 0].astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    with pytest.raises(InvalidInput, match="nearly black: no 16-bit value reaches 4096, and 65535 is white"):
        read_image(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "a.png"), pixels + np.uint16(1024))
    assert read_image(tmp_path / "a.png").max() > 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_read_upright_as_a_viewer_shows_it(tmp_path, orientation):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif, quality=100)
    from PIL import ImageOps

    with Pillow.open(tmp_path / "a.jpg") as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").astype(int), shown, atol=3)


def test_files_that_cannot_be_read_say_why(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_image(path)
    write_image(path, RGB)
    whole = path.read_bytes()
    for data, reason in (
        (b"", "unknown encoding"),
        (b"GIF89a......", "unknown encoding"),
        (whole[:-30], "truncated image"),
        (whole[:60] + bytes(4) + whole[64:], "damaged image"),
        (whole[:16] + struct.pack(">II", 30_000, 30_000) + whole[24:], "too large"),
    ):
        path.write_bytes(data)
        with pytest.raises(InvalidInput, match=reason) as caught:
            read_image(path)
        assert "\n" not in str(caught.value)
