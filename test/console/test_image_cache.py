from reasonseg_ros.console.image_cache import ImageCache, RawMessage

MS = 1_000_000


def message(stamp_ms, size=10):
    return RawMessage("sensor_msgs/msg/Image", stamp_ms * MS, bytes(size))


def test_the_oldest_images_go_when_memory_is_full():
    kept = ImageCache(60)
    for stamp_ms in range(5):
        kept.add_image(message(stamp_ms))
    assert [kept.at(stamp_ms * MS) is not None for stamp_ms in range(5)] == [False, False, True, True, True]
    assert kept.newest().image.stamp_ns == 4 * MS


def test_an_image_that_is_larger_than_all_memory_is_kept_alone():
    kept = ImageCache(10)
    kept.add_image(message(1))
    kept.add_image(message(2, 1000))
    assert kept.at(1 * MS) is None
    assert kept.newest().size_bytes == 1000


def test_an_image_that_is_repeated_takes_no_more_memory():
    kept = ImageCache(40)
    kept.add_image(message(1))
    for _ in range(10):
        kept.add_image(message(2))
    assert kept.at(1 * MS) is not None
    assert kept.newest().image.stamp_ns == 2 * MS


def test_an_image_gets_the_depth_of_its_time():
    kept = ImageCache(1000)
    for stamp_ms in (0, 90, 130, 300):
        kept.add_depth(message(stamp_ms))
    kept.add_image(message(100))
    assert kept.at(100 * MS).depth.stamp_ns == 90 * MS
    kept.add_image(message(200))
    assert kept.at(200 * MS).depth is None
    kept.add_depth(message(201))
    assert kept.with_depth(kept.at(200 * MS)).depth.stamp_ns == 201 * MS
    assert kept.newest().size_bytes == 20
