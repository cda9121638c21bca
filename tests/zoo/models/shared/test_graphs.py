"""Labels at the end of a graph: TensorFlow operations against the decoders."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage

from bmzpack.operations.labels import disagreement
from kerazoo.config import DecodingConfig
from kerazoo.evaluation.scores import count_instances
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.models.cellpose import graph as flow_graph
from kerazoo.models.cellpose.decoding import fill_enclosed, find_flow_objects
from kerazoo.models.cellpose.targets import flow_targets
from kerazoo.models.omnipose import graph as field_graph
from kerazoo.models.omnipose.decoding import find_field_objects
from kerazoo.models.omnipose.targets import field_targets
from kerazoo.models.pixels import graph as class_graph
from kerazoo.models.pixels.decoding import find_objects
from kerazoo.models.sam import graph as map_graph
from kerazoo.models.sam.decoding import objects_of_maps
from kerazoo.models.sam.targets import map_targets
from kerazoo.models.shared.label_graph import filled, keep
from kerazoo.models.shared.watershed import fill_holes, remove_small
from kerazoo.models.stardist import graph as star_graph
from kerazoo.models.stardist.decoding import find_stars
from kerazoo.models.stardist.targets import star_targets

AT_90 = 8
"""Place of the IoU 0.9 among the thresholds."""


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    write_nuclei(folder, images=4, seed=5, size=160)
    return [np.asarray(Image.open(path)).astype(np.int32) for path in sorted((folder / "masks").iterdir())]


@pytest.fixture(scope="module")
def real(data_folder):
    """Twenty fields of nuclei of very different sizes."""
    files = sorted((data_folder("nuclei_dsb2018") / "val" / "masks").iterdir())[:20]
    return [np.asarray(Image.open(path)).astype(np.int32) for path in files]


def smooth(random, shape, width):
    return np.stack([ndimage.gaussian_filter(random.normal(size=shape), width) for _ in range(3)], axis=-1)


def flows_of(labels, random):
    """What a network might say: the targets and smooth noise."""
    targets = flow_targets(labels)
    output = np.concatenate([5 * targets[..., :2], 10 * targets[..., 2:] - 5], axis=-1)
    return (output + smooth(random, labels.shape, 1.5) * [3, 3, 10]).astype(np.float32)


def fields_of(labels, random, noise=4):
    """The same for distance fields."""
    output = field_targets(labels)[..., :4]
    output[..., :3] += smooth(random, labels.shape, 1.5) * [noise, noise, noise / 4]
    return output.astype(np.float32)


def stars_of(labels, random, grid):
    """The same on a grid, then at the resolution of the image."""
    height, width = (side // grid * grid for side in labels.shape)
    stars = star_targets(labels[:height, :width], 32, grid).astype(np.float32)
    noise = random.normal(size=stars.shape).astype(np.float32)
    # no two are equal, for those are drawn in another order
    stars[..., 0] = np.clip(0.6 * stars[..., 0] + 0.06 * noise[..., 0], 0, None)
    stars[..., 1:] = np.maximum(stars[..., 1:] * (1 + 0.05 * noise[..., :1]) + noise[..., 1:], 0.5)
    full = stars.repeat(grid, axis=0).repeat(grid, axis=1)
    full[..., 0] = 0
    full[::grid, ::grid, 0] = stars[..., 0]
    return stars, full


def graph_of(function, channels, **arguments):
    signature = [tf.TensorSpec((1, None, None, channels), tf.float32)]
    serve = tf.function(lambda output: function(output, **arguments), input_signature=signature)
    return lambda output: serve(output[None]).numpy()[0, ..., 0].astype(np.int32)


def flow_labels(minimum_size=15):
    return graph_of(
        flow_graph.find_flow_objects, 3, threshold=0.0, flow_error=0.4, minimum_size=minimum_size, iterations=200
    )


def star_labels(grid, minimum_size=0):
    return graph_of(star_graph.find_stars, 33, border=2 * grid, threshold=0.3, overlap=0.4, minimum_size=minimum_size)


def classes_of(labels, random):
    """Probabilities of background, interior and border, with smooth noise."""
    inside = ndimage.minimum_filter(labels, 5) == ndimage.maximum_filter(labels, 5)
    classes = np.eye(3)[np.where(labels > 0, np.where(inside, 1, 2), 0)]
    noisy = ndimage.gaussian_filter(classes, (1, 1, 0)) + 0.6 * smooth(random, labels.shape, 1.5)
    noisy = np.clip(noisy, 1e-3, None)
    return (noisy / noisy.sum(axis=-1, keepdims=True)).astype(np.float32)


def class_labels(neck=0.8, minimum_size=15):
    arguments = {"threshold": 0.5, "seed_threshold": 0.5, "neck": neck, "minimum_size": minimum_size}
    return graph_of(class_graph.find_objects, 3, **arguments)


def decoded_classes(output, neck=0.8, minimum_size=15):
    interior = output[..., 1]
    foreground = interior + output[..., 2] > 0.5
    regions = np.where(foreground, np.where(interior > 0.5, 1, 2), 0).astype(np.uint8)
    return find_objects(regions, DecodingConfig(neck=neck, minimum_size=minimum_size))


def agreement(pairs):
    """Average precision at an IoU of 0.9 over all images, and the largest part of pixels that differ."""
    counts = [count_instances(expected, found) for found, expected in pairs]
    together = sum(counts[1:], counts[0])
    return together.average_precision()[AT_90], max(disagreement(*pair) for pair in pairs)


def check(pairs):
    precision, difference = agreement(pairs)
    print(f"\nAP at IoU 0.9: {precision:.4f}; at most {difference:.4f} of the pixels differ")
    assert precision >= 0.98
    assert difference < 0.02
    for found, _ in pairs:
        assert set(np.unique(found)) == set(range(found.max() + 1))


def check_flows(images):
    random, serve = np.random.default_rng(0), flow_labels()
    outputs = [flows_of(labels, random) for labels in images]
    check([(serve(output), find_flow_objects(output, 0.0, 0.4, 15, 200)) for output in outputs])


def check_stars(images, grid):
    random, serve = np.random.default_rng(0), star_labels(grid)
    outputs = [stars_of(labels, random, grid) for labels in images]
    check([(serve(full), find_stars(stars, (grid, grid), 0.3, 0.4)) for stars, full in outputs])


def test_flows_of_synthetic_nuclei(synthetic):
    check_flows(synthetic)


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_stars_of_synthetic_nuclei(synthetic, grid):
    check_stars(synthetic, grid)


@pytest.mark.slow
def test_flows_of_real_nuclei(real):
    check_flows(real)


@pytest.mark.slow
@pytest.mark.parametrize("grid", [1, 2])
def test_stars_of_real_nuclei(real, grid):
    check_stars(real, grid)


def test_nothing_is_found_in_nothing():
    assert not flow_labels()(np.full((48, 64, 3), -5, np.float32)).any()
    assert not star_labels(2)(np.zeros((48, 64, 33), np.float32)).any()


def test_networks_in_disorder_are_endured(synthetic):
    random = np.random.default_rng(0)
    flows, (_, full) = flows_of(synthetic[0], random), stars_of(synthetic[0], random, 2)
    flows[:40, :, 0], full[:40, :, 5] = np.nan, np.nan
    full[40:60, :, 7], full[60:80, :, 1:] = np.inf, 0
    assert flow_labels()(flows).max() > 0
    assert star_labels(2)(full).max() > 0


def test_small_objects_are_removed(synthetic):
    random = np.random.default_rng(0)
    flows, (stars, full) = flows_of(synthetic[0], random), stars_of(synthetic[0], random, 2)

    def check_above(found_with, everything):
        areas = np.sort(np.bincount(everything.ravel())[1:])
        # between two areas that are not alike, as the graph's objects may differ in some pixels
        place = int(np.argmax(np.diff(areas)))
        least = int(areas[place : place + 2].mean())
        found = found_with(least)
        assert disagreement(found, remove_small(everything, least)) < 0.02
        assert found.max() == len(areas) - place - 1

    check_above(lambda least: flow_labels(least)(flows), find_flow_objects(flows, 0.0, 0.4, 15, 200))
    check_above(lambda least: star_labels(2, least)(full), find_stars(stars, (2, 2), 0.3, 0.4))


def test_flows_that_no_object_has_are_removed(synthetic):
    """Where flows lead elsewhere than to the centre, the flow error tells."""
    flows = flows_of(synthetic[0], np.random.default_rng(0))
    flows[..., :2] = np.where(np.arange(flows.shape[1])[:, None] < 80, flows[..., :2], [0, 5])
    found, expected = flow_labels()(flows), find_flow_objects(flows, 0.0, 0.4, 15, 200)
    without = find_flow_objects(flows, 0.0, 0.0, 15, 200)
    assert expected.max() < without.max()
    assert disagreement(found, expected) < 0.02


def test_holes_are_filled_like_those_of_the_decoder():
    labels = np.zeros((30, 40), np.int32)
    labels[4:20, 5:18], labels[8:12, 9:13] = 1, 0
    labels[5:25, 22:36], labels[10:20, 26:40] = 2, 0  # open to the right
    assert np.array_equal(flow_graph._fill_enclosed(tf.constant(labels)), fill_enclosed(labels))


def test_labels_are_numbered_without_gaps():
    labels = tf.constant([[0, 1, 2], [3, 4, 4]])
    kept = keep(labels, tf.constant([True, False, True, False, True]))
    assert kept.numpy().tolist() == [[0, 0, 1], [0, 2, 2]]


def check_classes(images, neck):
    random, serve = np.random.default_rng(0), class_labels(neck)
    outputs = [classes_of(labels, random) for labels in images]
    check([(serve(output), decoded_classes(output, neck)) for output in outputs])


@pytest.mark.parametrize("neck", [0.0, 0.6, 0.8])
def test_classes_of_synthetic_nuclei(synthetic, neck):
    check_classes(synthetic, neck)


@pytest.mark.slow
@pytest.mark.parametrize("neck", [0.7, 0.8])
def test_classes_of_real_nuclei(real, neck):
    check_classes(real, neck)


def test_classes_of_odd_images():
    """Nothing, one object that is all, a single pixel, and a row."""
    serve = class_labels(minimum_size=0)
    for shape in ((1, 1), (1, 9), (12, 20)):
        for kind in range(3):
            output = np.zeros((*shape, 3), np.float32)
            output[..., kind] = 1
            assert np.array_equal(serve(output), decoded_classes(output, minimum_size=0)), (shape, kind)


def test_a_hole_belongs_to_an_object_that_is_alone_around_it():
    labels = np.zeros((30, 60), np.int32)
    labels[2:28, 2:20] = 1
    labels[5:25, 30:40], labels[5:25, 40:55] = 2, 3
    labels[10:14, 6:12], labels[10:16, 36:46], labels[20:23, 50:] = 0, 0, 0  # in 1, between 2 and 3, open to the right
    assert np.array_equal(filled(tf.constant(labels)), fill_holes(labels))
    assert (fill_holes(labels) > 0).sum() == (labels > 0).sum() + 24


@pytest.mark.parametrize("minimum_size", [0, 20])
def test_maps_of_synthetic_nuclei(synthetic, minimum_size):
    """The same labels, number for number; also where seeds are torn and meet others."""
    random = np.random.default_rng(3)
    for labels in [*synthetic, np.zeros((20, 30), np.int32)]:
        noisy = map_targets(labels) + 2 * smooth(random, labels.shape, 1.2)
        for maps in (map_targets(labels), noisy.astype(np.float32)):
            expected = objects_of_maps(maps, 0.5, 0.5, minimum_size)
            found = map_graph.find_objects(
                tf.constant(maps[None]), threshold=0.5, seed_threshold=0.5, minimum_size=minimum_size
            )
            np.testing.assert_array_equal(np.asarray(found)[0, :, :, 0], expected)


def field_labels(minimum_size=15):
    arguments = {"threshold": 0.0, "flow_error": 0.4, "minimum_size": minimum_size}
    return graph_of(field_graph.find_field_objects, 4, **arguments)


def test_fields_of_synthetic_nuclei(synthetic):
    random, serve = np.random.default_rng(0), field_labels()
    outputs = [fields_of(labels, random) for labels in synthetic]
    check([(serve(output), find_field_objects(output)) for output in outputs])


def test_fields_of_thin_rods():
    """Their end points are clustered by density, on a grid: not as in the decoder, but no worse."""
    rods = np.zeros((80, 90), np.int32)
    for rod in range(6):
        rods[5 + 6 * rod : 9 + 6 * rod, 8:30], rods[45:75, 5 + 9 * rod : 9 + 9 * rod] = rod + 1, rod + 7
    random, serve, found, decoded = np.random.default_rng(0), field_labels(), [], []
    for _ in range(10):
        output = fields_of(rods, random, noise=0.5)
        assert output[..., 2][output[..., 2] > 0].mean() <= 2
        found.append(count_instances(rods, serve(output)))
        decoded.append(count_instances(rods, find_field_objects(output)))
    (precision, expected) = (sum(counts[1:], counts[0]).average_precision()[0] for counts in (found, decoded))
    print(precision, expected)
    assert precision >= expected - 0.01
    assert expected > 0.5


@pytest.mark.slow
def test_fields_of_real_nuclei(real):
    random, serve = np.random.default_rng(0), field_labels()
    outputs = [fields_of(labels, random) for labels in real]
    check([(serve(output), find_field_objects(output)) for output in outputs])
    assert field_labels()(np.full((20, 30, 4), -5.0, np.float32)).max() == 0
