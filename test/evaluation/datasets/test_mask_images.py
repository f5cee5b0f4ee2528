"""Masks in PNG files as other tools write them, against the arrays that they were written from."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.mask_images import MOST_VALUES, mask_values, stored_values

MARKED = np.zeros((9, 14), bool)
MARKED[2:6, 3:11] = True


def saved(image, **options):
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def palette(indices, colours, **options):
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette(colours)
    return saved(image, **options)


def grey_png(values, bits):
    """Grey PNG of 1, 2 or 4 bits, written by hand: Pillow writes none of 2 and 4."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b""
    for row in values:
        binary = "".join(f"{value:0{bits}b}" for value in row)
        binary += "0" * (-len(binary) % 8)
        rows += b"\0" + bytes(int(binary[at : at + 8], 2) for at in range(0, len(binary), 8))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_keeps_its_values(bits):
    values = (np.arange(9 * 14).reshape(9, 14) % 2**bits).astype(np.uint8)
    assert (mask_values(grey_png(values, bits), "x") == values).all()


def test_a_palette_keeps_its_indices_where_0_is_black_or_transparent():
    indices = MARKED * 2
    assert (mask_values(palette(indices, [0, 0, 0, 9, 9, 9, 0, 0, 0]), "x") == indices).all()
    white_hidden = palette(indices, [255, 255, 255, 9, 9, 9, 0, 0, 0], transparency=0)
    assert (mask_values(white_hidden, "x") == indices).all()


def test_a_palette_that_begins_with_white_is_refused():
    # Tools that make files small sort the colours; here the marked pixels are white and have index 0.
    data = palette(~MARKED, [255, 255, 255, 0, 0, 0])
    assert (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) == MARKED * 255).all()
    with pytest.raises(InvalidInput, match="first colour is"):
        mask_values(data, "x")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_mask_in_the_alpha_channel_is_refused_and_full_alpha_is_no_matter(mode):
    image = Image.fromarray(np.full(MARKED.shape, 255, np.uint8)).convert(mode)
    image.putalpha(Image.fromarray(MARKED.astype(np.uint8) * 255))
    with pytest.raises(InvalidInput, match="alpha channel"):
        mask_values(saved(image), "x")
    opaque = Image.fromarray(MARKED.astype(np.uint8)).convert(mode)
    assert (mask_values(saved(opaque), "x") == MARKED).all()


def test_sixteen_bits_are_read_in_one_channel_and_refused_in_three():
    ids = MARKED.astype(np.uint16) * 3
    assert (mask_values(cv2.imencode(".png", ids)[1].tobytes(), "x") == ids).all()
    with pytest.raises(InvalidInput, match="16 bits for each colour"):
        mask_values(cv2.imencode(".png", np.dstack([ids] * 3))[1].tobytes(), "x")


def test_a_map_of_probabilities_is_no_mask():
    soft = cv2.GaussianBlur(MARKED.astype(np.uint8) * 255, (0, 0), 2)
    soft = cv2.resize(soft, (140, 90))
    data = cv2.imencode(".png", soft)[1].tobytes()
    assert (stored_values(data, "x") == soft).all()
    with pytest.raises(InvalidInput, match="as a map of probabilities"):
        mask_values(data, "x")
    ids = (np.arange(130).reshape(10, 13) % (MOST_VALUES + 1)).astype(np.uint8)
    assert (mask_values(cv2.imencode(".png", ids)[1].tobytes(), "x") == ids).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("spoil", ["jpeg", "resized"])
def test_a_mask_with_soft_edges_is_no_mask(spoil, channels):
    """Its edges and the noise around them would count as inside."""
    mask = cv2.circle(np.zeros((60, 80), np.uint8), (40, 30), 20, 255, -1)
    if spoil == "jpeg":
        soft = cv2.imdecode(cv2.imencode(".jpg", mask)[1], cv2.IMREAD_GRAYSCALE)
    else:
        soft = cv2.resize(mask, (200, 150), interpolation=cv2.INTER_LINEAR)
    assert np.count_nonzero(soft) > 1.02 * np.count_nonzero(soft > 127)
    with pytest.raises(InvalidInput, match=r"values from \d+ to \d+ beside 255, as the soft edges"):
        mask_values(cv2.imencode(".png", np.dstack([soft] * channels))[1].tobytes(), "it")


def test_instances_drawn_in_greys_and_indices_of_a_palette_are_masks():
    greys = np.array([[0, 85, 170, 255], [0, 85, 170, 255]], np.uint8)
    np.testing.assert_array_equal(mask_values(cv2.imencode(".png", greys)[1].tobytes(), "it"), greys)
    indices = np.array([[0, 100, 110, 120], [130, 140, 150, 255]], np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette([channel for index in range(256) for channel in (index, index // 2, 0)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    np.testing.assert_array_equal(mask_values(buffer.getvalue(), "it"), indices)


def test_a_mask_is_turned_as_viewers_show_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(MARKED.astype(np.uint8)), exif=exif)
    assert (mask_values(data, "x") == np.rot90(MARKED, -1)).all()


def test_another_format_is_refused():
    data = cv2.imencode(".jpg", MARKED.astype(np.uint8) * 255)[1].tobytes()
    with pytest.raises(InvalidInput, match="x is not a PNG"):
        mask_values(data, "x")
