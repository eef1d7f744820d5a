"""The CRF beside mean field with every pair of pixels, and beside pydensecrf where it is there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import EXAMPLE
from PIL import Image
from scenes import on_one_and_two_threads

from regiontree.errors import FeatureError, SettingsError
from regiontree.refine.crf import CrfSettings, crf, marginals, memory_needed

SINGLE = CrfSettings(precision="single")


def scene(height: int, width: int, n_labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Energies and a picture of two colours: wavy borders, noisy and blurred energies."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    inside = y + 3 * np.sin(x / 4) > height / 2
    rgb = np.where(inside[..., None], (200, 120, 40), (60, 130, 180)) + rng.normal(
        0, 2, (height, width, 3)
    )
    energies = rng.normal(0, 0.7, (n_labels, height, width))
    energies[0] -= 1.2 * inside
    energies[1] -= 1.2 * (y > height / 2 + 2) * ~inside + 0.8 * ~inside
    return energies.astype(np.float32), np.clip(rgb, 0, 255).astype(np.uint8)


def all_pairs(unary: np.ndarray, rgb: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """Mean field with both kernels as full n x n matrices: marginals (n_labels, H, W)."""
    n_labels, height, width = unary.shape
    y, x = (axis.reshape(-1, 1).astype(float) for axis in np.mgrid[:height, :width])
    place, colour = np.hstack([x, y]), rgb.reshape(-1, 3).astype(float)
    kernels = []
    for weight, positions in (
        (settings.smooth_weight, place / settings.smooth_xy),
        (
            settings.edge_weight,
            np.hstack([place / settings.edge_xy, colour / settings.edge_rgb]),
        ),
    ):
        kernel = np.exp(-((positions[:, None] - positions[None]) ** 2).sum(2) / 2)
        root = np.sqrt(kernel.sum(1))
        kernels.append(weight * kernel / root[:, None] / root[None])
    energies = unary.reshape(n_labels, -1).T.astype(float)
    logits = -energies
    for _ in range(settings.steps):
        probability = softmax(logits)
        logits = -energies + sum(kernel @ probability for kernel in kernels)
    return softmax(logits).T.reshape(unary.shape)


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("n_labels", [2, 5])
def test_nearly_mean_field_with_every_pair(n_labels):
    unary, rgb = scene(28, 36, n_labels)
    # A kernel of colour that the lattice does not resolve too coarsely for so few pixels
    settings = CrfSettings(edge_xy=10, edge_rgb=10, precision="single")
    expected = all_pairs(unary, rgb, settings)
    found = marginals(unary, rgb, settings)
    assert (found.argmax(0) == expected.argmax(0)).mean() > 0.97
    assert np.abs(found - expected).mean() < 0.03
    # the field has something to do
    assert (unary.argmin(0) == expected.argmax(0)).mean() < 0.9


@pytest.mark.parametrize("precision", ["half", "single"])
@pytest.mark.parametrize("n_labels", [2, 20])
def test_labels_of_pydensecrf(precision, n_labels):
    """On a piece of the example photograph, the labels of the authors' program."""
    densecrf = pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
    rgb = np.asarray(Image.open(EXAMPLE).convert("RGB"))[100:260, 100:300]
    height, width = rgb.shape[:2]
    # Energies as soft and smooth as those of patch features brought to the pixel
    rng = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, n_labels, 10, 12, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    unary = -(2.5 * smooth[0]).log_softmax(0).numpy()

    other = densecrf.DenseCRF2D(width, height, n_labels)
    other.setUnaryEnergy(unary.reshape(n_labels, -1))
    other.addPairwiseGaussian(sxy=1, compat=3)
    other.addPairwiseBilateral(sxy=67, srgb=3, rgbim=np.ascontiguousarray(rgb), compat=4)
    expected = np.array(other.inference(10)).argmax(0).reshape(height, width)
    found = crf(unary, rgb, CrfSettings(precision=precision))
    assert (found == expected).mean() > 0.999
    assert (unary.argmin(0) == expected).mean() < 0.97


def test_half_gives_the_labels_of_single():
    unary, rgb = scene(60, 80, 12)
    assert (crf(unary, rgb) == crf(unary, rgb, SINGLE)).mean() > 0.998
    assert np.abs(marginals(unary, rgb) - marginals(unary, rgb, SINGLE)).max() < 0.05


def test_labels_are_the_largest_marginals():
    unary, rgb = scene(20, 30, 4)
    probabilities = marginals(unary, rgb)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == unary.shape
    assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
    labels = crf(unary, rgb)
    assert labels.dtype == np.int32
    assert np.array_equal(labels, probabilities.argmax(0))


def test_borders_move_to_the_edges_of_the_photograph():
    rgb = np.full((40, 40, 3), 40, np.uint8)
    rgb[:, 20:] = 210
    unary = np.full((2, 40, 40), 0.5, np.float32)
    unary[1, :, 23:] = unary[0, :, :23] = 0.0  # three pixels off
    expected = np.repeat([[0] * 20 + [1] * 20], 40, axis=0)
    assert (crf(unary, rgb) == expected).all()


@pytest.mark.parametrize("precision", ["half", "single"])
def test_equal_bytes_with_any_number_of_threads(precision):
    unary, rgb = scene(100, 120, 6)
    settings = CrfSettings(precision=precision, steps=3)
    one, two = on_one_and_two_threads(lambda: marginals(unary, rgb, settings).tobytes())
    assert one == two


@pytest.mark.filterwarnings("error")
def test_arguments_stay_as_they_are():
    unary, rgb = scene(10, 12, 3)
    before = unary.copy(), rgb.copy()
    unary.flags.writeable = rgb.flags.writeable = False
    pixels_first = np.ascontiguousarray(unary.transpose(1, 2, 0)).transpose(2, 0, 1)
    labels = crf(unary, rgb)
    assert np.array_equal(crf(pixels_first, rgb), labels)
    assert np.array_equal(crf(torch.tensor(unary), rgb), labels)
    assert np.array_equal(unary, before[0])
    assert np.array_equal(pixels_first, before[0])
    assert np.array_equal(rgb, before[1])


def test_no_steps_or_no_weights_leave_the_unary():
    unary, rgb = scene(10, 12, 3)
    expected = unary.argmin(0)
    assert np.array_equal(crf(unary, rgb, CrfSettings(steps=0)), expected)
    assert np.array_equal(crf(unary, rgb, CrfSettings(smooth_weight=0, edge_weight=0)), expected)
    only_smooth = crf(unary, rgb, CrfSettings(edge_weight=0))
    assert not np.array_equal(only_smooth, expected)


def test_one_label_is_free_at_any_size():
    settings = CrfSettings(memory_limit=0)
    labels = crf(np.zeros((1, 500, 600), np.float32), np.zeros((500, 600, 3), np.uint8), settings)
    assert labels.shape == (500, 600)
    assert not labels.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1)])
def test_images_of_one_pixel_or_one_line(shape):
    rng = np.random.default_rng(0)
    unary = rng.normal(size=(3, *shape)).astype(np.float32)
    probabilities = marginals(unary, rng.integers(0, 255, (*shape, 3), np.uint8))
    assert np.allclose(probabilities.sum(0), 1, atol=1e-5)
    if shape == (1, 1):
        assert probabilities.argmax() == unary.argmin()


def test_uniform_and_noise_images():
    """The fewest vertices there can be, and the most; half precision must overflow on neither."""
    unary, _ = scene(60, 60, 4)
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    for rgb in (np.zeros((60, 60, 3), np.uint8), np.repeat(noise[..., :1], 3, axis=2), noise):
        for settings in (CrfSettings(), CrfSettings(edge_xy=1e5, edge_rgb=1e5)):
            assert np.isfinite(marginals(unary, rgb, settings)).all()


def test_memory_is_refused_before_it_is_taken():
    unary, rgb = scene(30, 40, 6)
    needed = memory_needed((30, 40), 6, CrfSettings())
    crf(unary, rgb, CrfSettings(memory_limit=needed))
    with pytest.raises(SettingsError, match=r"6 labels on 30 x 40 pixels .* raise memory_limit"):
        crf(unary, rgb, CrfSettings(memory_limit=needed - 1))
    assert memory_needed((30, 40), 6, SINGLE) > needed
    assert memory_needed((30, 40), 1, SINGLE) == 0


@pytest.mark.parametrize(
    ("unary", "rgb", "message"),
    [
        (np.zeros((2, 4)), None, r"got \(2, 4\) float64"),
        (np.zeros((2, 4, 5)), None, r"\(n_labels, H, W\) float32.* got \(2, 4, 5\) float64"),
        (np.zeros((0, 4, 5), np.float32), None, r"got \(0, 4, 5\)"),
        (np.full((2, 4, 5), np.inf, np.float32), None, "must be finite"),
        (np.full((2, 4, 5), np.nan, np.float32), None, "must be finite"),
        (None, np.zeros((5, 4, 3), np.uint8), r"\(4, 5, 3\) uint8 like unary, got \(5, 4, 3\)"),
        (None, np.zeros((4, 5), np.uint8), r"got \(4, 5\) uint8"),
        (None, np.zeros((4, 5, 3)), "got .* float64"),
    ],
)
def test_arrays_that_do_not_fit(unary, rgb, message):
    unary = np.zeros((2, 4, 5), np.float32) if unary is None else unary
    rgb = np.zeros((4, 5, 3), np.uint8) if rgb is None else rgb
    for run in (crf, marginals):
        with pytest.raises(FeatureError, match=message):
            run(unary, rgb)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"smooth_xy": 0}, "smooth_xy must be a number in"),
        ({"edge_rgb": -3.0}, "edge_rgb must be a number in"),
        ({"edge_weight": -1}, "edge_weight must be a number in"),
        ({"steps": 1.5}, "steps must be a whole number in"),
        ({"precision": "double"}, "precision must be one of half, single, got 'double'"),
        ({"memory_limit": "4 GB"}, "memory_limit must be a number in"),
    ],
)
def test_settings_that_cannot_be(wrong, message):
    with pytest.raises(SettingsError, match=message):
        CrfSettings(**wrong)
