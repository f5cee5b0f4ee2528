import numpy as np

from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS
from reasonseg_ros.training.reasoner.images import BOX_UNIT_PX, dense_labels, disturb, view
from reasonseg_ros.training.reasoner.model import GRID_WH, IMAGE_TOKENS, IMAGE_WH, TOKEN_PX


def test_tokens_carry_what_they_show(make_scene):
    scene = view(make_scene(2))
    labels = dense_labels(scene)
    for item in scene.objects:
        x, y = (v * s for v, s in zip(item.point_xy, (0.7, 0.7), strict=True))
        token = int(y) // TOKEN_PX * GRID_WH[0] + int(x) // TOKEN_PX
        assert labels.tokens[item.instance_id][token]
        assert labels.category[token] == 1 + CATEGORIES.index(item.category)
        assert labels.color[token] == COLORS.index(item.color)
        centre = np.array([*IMAGE_WH] * 2) / 2
        np.testing.assert_allclose(
            labels.box[token, :4] * BOX_UNIT_PX + centre, np.array(item.box_xyxy) * 0.7, atol=1e-3
        )
        own_centre = np.array([token % GRID_WH[0], token // GRID_WH[0]] * 2) * TOKEN_PX + TOKEN_PX / 2
        np.testing.assert_allclose(
            labels.relative_box[token, :4] * BOX_UNIT_PX + own_centre, np.array(item.box_xyxy) * 0.7, atol=1e-3
        )
    nothing = labels.category == 0
    assert nothing.any() and not np.any([tokens & nothing for tokens in labels.tokens.values()], axis=1).all()


def test_a_mirrored_scene_has_mirrored_labels(make_scene):
    plain, mirrored = dense_labels(view(make_scene(2))), dense_labels(view(make_scene(2), mirrored=True))
    columns = np.arange(IMAGE_TOKENS).reshape(GRID_WH[1], GRID_WH[0])[:, ::-1].ravel()
    # Rows of pixels are sampled, so a token at an object's border may fall to either side.
    assert (plain.category[columns] == mirrored.category).mean() > 0.95
    seen = (plain.category[columns] == mirrored.category) & (mirrored.category > 0)
    x1, x2 = plain.box[columns][seen][:, 0], mirrored.box[seen][:, 2]
    np.testing.assert_allclose(x1, -x2, atol=1e-5)


def test_disturbing_keeps_the_scene(make_scene):
    scene = make_scene(2)
    rng = np.random.default_rng(0)
    images = [disturb(scene.rgb, rng) for _ in range(20)]
    assert all(image.shape == (IMAGE_WH[1], IMAGE_WH[0], 3) and image.dtype == np.float32 for image in images)
    assert min(image.min() for image in images) >= 0 and max(image.max() for image in images) <= 1
    x, y = (int(v * 0.7) for v in scene.objects[0].point_xy)
    source = scene.rgb[scene.objects[0].point_xy[1], scene.objects[0].point_xy[0]] / 255
    assert np.abs(np.mean([image[y, x] for image in images], axis=0) - source).max() < 0.15
    assert len({image.tobytes() for image in images}) == len(images)
