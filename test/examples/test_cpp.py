"""The C++ example's decoding of masks, compiled, against the product's own."""

import shutil
import subprocess

import numpy as np
import pytest

from reasonseg_ros.images.mask_codec import encode_mask
from test.examples.loading import EXAMPLES

FOLDER = EXAMPLES / "06_plain_consumer"
FLAGS = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{FOLDER}"]
RUN_LENGTHS = """
#include <iostream>
#include <iterator>
#include "run_lengths.hpp"
int main(int, char** arguments) {
  const std::vector<std::uint8_t> data{std::istreambuf_iterator<char>(std::cin), {}};
  try {
    for (auto pixel : decode_run_lengths(data, std::stoul(arguments[1]), std::stoul(arguments[2]))) std::cout << pixel;
  } catch (const std::runtime_error& error) {
    std::cerr << error.what();
    return 1;
  }
}
"""
WHOLE = """
#include <iostream>
#include <iterator>
#include "mask.hpp"
struct Mask {
  unsigned height, width, x_offset, y_offset, crop_height, crop_width;
  std::string encoding;
  std::vector<std::uint8_t> data;
};
int main(int, char** a) {
  auto number = [a](int i) { return static_cast<unsigned>(std::stoul(a[i])); };
  Mask mask{number(1), number(2), number(3), number(4), number(5), number(6), a[7], {}};
  mask.data.assign(std::istreambuf_iterator<char>(std::cin), {});
  const cv::Mat whole = decode_mask(mask);
  std::cout.write(reinterpret_cast<const char*>(whole.data), static_cast<std::streamsize>(whole.total()));
}
"""


def compiled(folder, name, source, *flags):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    (folder / f"{name}.cpp").write_text(source, encoding="utf-8")
    command = [compiler, *FLAGS, str(folder / f"{name}.cpp"), "-o", str(folder / name), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / name


def masks():
    rng = np.random.default_rng(2)
    speckled = rng.random((37, 53)) > 0.5
    inner = np.zeros((48, 64), bool)
    inner[10:20, 30:50] = rng.random((10, 20)) > 0.3
    return [speckled, inner, ~np.zeros((3, 5), bool), np.zeros((4, 6), bool), np.eye(9, dtype=bool)]


@pytest.fixture(scope="module")
def run_lengths(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("cpp"), "run_lengths", RUN_LENGTHS)


@pytest.mark.parametrize("mask", masks())
def test_run_lengths_are_decoded_to_the_same_pixels(run_lengths, mask):
    coded = encode_mask(mask, "rle")
    size = (coded.crop_height, coded.crop_width)
    done = subprocess.run([run_lengths, *map(str, size)], input=coded.data, capture_output=True, check=True)
    crop = mask[coded.y_offset : coded.y_offset + size[0], coded.x_offset : coded.x_offset + size[1]]
    assert done.stdout == (crop * np.uint8(255)).tobytes()


@pytest.mark.parametrize(
    ("runs", "words"),
    [([3], "do not fill"), ([4, 9], "exceed"), ([2**32 - 1], "exceed"), ([2**32 - 1, 2**32 - 1], "exceed")],
)
def test_run_lengths_that_do_not_fit_the_crop_are_refused(run_lengths, runs, words):
    data = np.array(runs, "<u4").tobytes()
    done = subprocess.run([run_lengths, "3", "4"], input=data, capture_output=True, check=False)
    assert done.returncode == 1 and words in done.stderr.decode()
    assert subprocess.run([run_lengths, "3", "4"], input=data[:-1], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("encoding", ["png", "rle"])
def test_masks_are_decoded_as_opencv_images(tmp_path, encoding):
    package = shutil.which("pkg-config")
    found = package and subprocess.run([package, "--cflags", "--libs", "opencv4"], capture_output=True, text=True)
    if not found or found.returncode:
        pytest.skip("OpenCV's headers are not installed; apt install libopencv-dev")
    program = compiled(tmp_path, "whole", WHOLE, *found.stdout.split())
    for mask in masks():
        coded = encode_mask(mask, encoding)
        numbers = [coded.height, coded.width, coded.x_offset, coded.y_offset, coded.crop_height, coded.crop_width]
        command = [program, *map(str, numbers), encoding]
        done = subprocess.run(command, input=coded.data, capture_output=True, check=True)
        assert done.stdout == (mask * np.uint8(255)).tobytes()
