"""Feeding a network: batches and memory, photographs decoded meanwhile, own models, compiling."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import EXAMPLE
from PIL import Image
from test_experiments import make_data, run_config, tables
from torch import Tensor, nn

from regiontree import RegionParser
from regiontree.backbones.compiler import compiled
from regiontree.backbones.featurefile import Features
from regiontree.backbones.own import OwnModel
from regiontree.backbones.run import run_batch
from regiontree.engines.feeding import extract_many, feed
from regiontree.errors import BackboneError, ImageError, SettingsError
from regiontree.experiments import stages
from regiontree.images.sight import Sight

CPU = torch.device("cpu")


class Colours:
    """Colours of patches, from at most `most` images at a time, as memory would have it."""

    name, digest, patch, dim = "colours", "1", 8, 3
    device, dtype = CPU, torch.float32

    def __init__(self, most: int = 1000, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.most, self.error = most, error
        self.ran: list[int] = []

    def features(self, pixels: Tensor) -> Tensor:
        self.ran.append(len(pixels))
        if len(pixels) > self.most:
            raise self.error("CUDA out of memory. Tried to allocate 1 GiB")
        return nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1


def parser(model: object | None = None, **changes: object) -> RegionParser:
    chosen = {"size": 64, "views": 1, "parts": 16, **changes}
    return RegionParser(backbone=model or Colours(), **chosen)


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    """Seven photographs, tall and wide by turns, one of a single colour."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(7):
        rgb = rng.integers(0, 255, (48, 64, 3) if i % 3 else (64, 48, 3), np.uint8)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(rgb if i != 5 else np.full_like(rgb, 99)).save(paths[-1])
    return paths


def same(a: Features, b: Features) -> bool:
    return torch.equal(a.patches, b.patches) and (a.image_size, a.source, a.backbone) == (
        b.image_size, b.source, b.backbone,
    )  # fmt: skip


def decoding_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("regiontree-decoding")]


# -- a network and its memory ---------------------------------------------------------------------


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_a_batch_is_halved_until_it_fits_and_the_size_remembered(error):
    network, limits = Colours(most=3, error=error), {}
    if error is MemoryError:
        network.error = lambda _: MemoryError()
    pixels = torch.rand(8, 3, 16, 24)
    whole = Colours().features(pixels)
    assert torch.equal(run_batch(network, pixels, limits), whole)
    assert network.ran == [8, 4, 2, 2, 2, 2]
    assert limits == {(16, 24): 2}
    network.ran.clear()
    assert torch.equal(run_batch(network, pixels[:5], limits), whole[:5])
    assert network.ran == [2, 2, 1]
    run_batch(network, torch.rand(3, 3, 8, 8), limits)  # of another size nothing is known
    assert network.ran[3:] == [3]


def test_one_image_that_does_not_fit_says_what_takes_less():
    said = r"colours: an image of 16x24 pixels does not fit in the memory of cpu; .*--size"
    with pytest.raises(BackboneError, match=said):
        run_batch(Colours(most=0), torch.rand(4, 3, 16, 24))
    photo = np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)
    with pytest.raises(BackboneError, match="an image of 40x64 pixels does not fit"):
        parser(Colours(most=0)).features(photo)


def test_what_torch_says_of_memory_on_a_cpu_is_understood():
    class Greedy(Colours):
        def features(self, pixels: Tensor) -> Tensor:
            return torch.empty(len(pixels), 2**48)

    with pytest.raises(BackboneError, match="does not fit in the memory of cpu"):
        run_batch(Greedy(), torch.rand(2, 3, 8, 8))


def test_other_errors_of_a_network_are_its_own():
    class Broken(Colours):
        def features(self, pixels: Tensor) -> Tensor:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run_batch(Broken(), torch.rand(2, 3, 8, 8))


# -- many photographs -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 1, 2, 8])
@pytest.mark.parametrize("ahead", [0, 2])
def test_many_give_in_order_what_each_gives_alone(photos, batch, ahead):
    model = Colours()
    one_by_one = [parser().extract(photo) for photo in photos]
    found = list(extract_many(parser(model), iter(photos), batch=batch, ahead=ahead))
    assert [photo for photo, _ in found] == photos
    assert all(same(a, b) for (_, a), b in zip(found, one_by_one, strict=True))
    assert sum(model.ran) == 6  # what is of one colour needs no network
    assert max(model.ran) == {None: 1, 1: 1, 2: 2, 8: 3}[batch]
    assert not decoding_threads()


@pytest.mark.usefixtures("embedded_installed")
def test_the_embedded_network_gives_the_same_bits(photos):
    chosen = RegionParser(size=56, device="cpu")
    for photo, found in extract_many(chosen, photos[:3]):
        assert same(found, chosen.extract(photo))


def test_one_bad_photograph_does_not_stop_the_rest(photos, tmp_path):
    photos[2].write_bytes(photos[2].read_bytes()[:200])
    photos.insert(4, tmp_path / "gone.png")
    found = [features for _, features in extract_many(parser(), [*photos, None], batch=4)]
    assert [isinstance(f, Features) for f in found] == [i not in (2, 4, 8) for i in range(9)]
    assert isinstance(found[2], ImageError)
    assert "no such file" in str(found[4])
    assert "got None" in str(found[8])


def test_a_photograph_that_the_network_fails_on_does_not_stop_its_batch(photos):
    class Picky(Colours):
        def features(self, pixels: Tensor) -> Tensor:
            if (pixels[:, :, 0, 0].sum(1) > 2).any():
                raise RuntimeError("too bright")
            return super().features(pixels)

    bright = np.array(Image.open(photos[1]))
    bright[:16, :16] = 255
    Image.fromarray(bright).save(photos[1])
    found = [features for _, features in extract_many(parser(Picky()), photos, batch=4)]
    assert [i for i, f in enumerate(found) if not isinstance(f, Features)] == [1]
    assert "too bright" in str(found[1])


def test_memory_found_short_once_is_remembered_for_the_grid(photos):
    model = Colours(most=2)
    wide = [photos[1], photos[2], photos[4]] * 4
    found = [features for _, features in extract_many(parser(model), wide, batch=8)]
    assert all(isinstance(f, Features) for f in found)
    assert model.ran == [8, 4, 2, 2, 2, 2, 2, 2]


def test_photographs_are_taken_a_few_batches_ahead_only(photos):
    taken = 0

    def counted() -> Iterator[Path]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield photos[1]

    many = extract_many(parser(), counted(), batch=2, ahead=3)
    next(many)
    assert taken == 8
    next(many)
    assert taken <= 9
    many.close()
    assert not decoding_threads()


def test_no_thread_is_left_over_after_an_error_or_an_interruption(photos):
    def spoiled(error: BaseException) -> Iterator[Path]:
        yield from photos[:4]
        raise error

    for error in (ValueError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            list(extract_many(parser(), spoiled(error)))
        assert not decoding_threads()

    class Interrupted(Colours):
        def features(self, pixels: Tensor) -> Tensor:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(extract_many(parser(Interrupted()), photos))
    assert not decoding_threads()
    for _ in extract_many(parser(), photos):
        break
    assert not decoding_threads()


def test_decoding_runs_beside_the_network(photos):
    """The network waits for a photograph that only the other thread can have brought."""
    brought = threading.Event()

    class Waiting(Colours):
        def features(self, pixels: Tensor) -> Tensor:
            assert brought.wait(10), "nothing was decoded meanwhile"
            return super().features(pixels)

    class Watching(Sight):
        def load(self, photo):
            image = super().load(photo)
            if photo == photos[2]:
                brought.set()
            return image

    watched = RegionParser(backbone=Waiting(), size=64, views=1)
    watched.sight = Watching(64)
    assert len(list(extract_many(watched, photos[:4], ahead=2))) == 4


def test_what_is_not_to_be_done_passes_in_its_turn_and_loads_no_network(photos):
    idle = RegionParser(backbone="no such network", device="cpu")
    assert [fed.features for fed in feed(idle, [None, None])] == [None, None]
    fed = list(feed(parser(), [None, photos[1], None]))
    assert [f.features is None for f in fed] == [True, False, True]
    assert fed[1].image is not None
    with pytest.raises(BackboneError, match="unknown backbone"):
        list(feed(idle, [None, photos[1]]))


def test_feature_files_need_no_network(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), np.float32))
    files = [tmp_path / "a.npy", tmp_path / "b.npy"]
    found = dict(extract_many(RegionParser(backbone="precomputed", device="cpu"), files))
    assert found[files[0]].patches.shape == (2, 3, 4)
    assert "no such feature file" in str(found[files[1]])


@pytest.mark.parametrize(("batch", "ahead"), [(0, 2), (1.5, 2), (1, -1)])
def test_numbers_out_of_range_are_told(photos, batch, ahead):
    with pytest.raises(SettingsError, match=r"(batch|ahead) must be a whole number in"):
        list(extract_many(parser(), photos, batch=batch, ahead=ahead))


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_experiment_is_the_same_with_photographs_decoded_ahead(tmp_path, monkeypatch, ahead):
    monkeypatch.setattr(stages, "feed", partial(feed, ahead=ahead))
    pets = make_data(tmp_path / "ahead", 4)
    _, result = run_config(pets)
    assert (result.done, result.kept) == (4, 0)
    monkeypatch.undo()
    run_config(make_data(tmp_path / "simple", 4))
    expected = tables(tmp_path / "simple").replace("/simple/", "/ahead/")
    assert tables(tmp_path / "ahead") == expected
    monkeypatch.setattr(stages, "feed", partial(feed, ahead=ahead))
    (tmp_path / "ahead/images/p002.png").unlink()
    (tmp_path / "ahead/features/p001.npy").write_bytes(b"damaged")
    _, again = run_config(pets)
    assert (again.done, again.kept, len(again.failed)) == (0, 2, 2)
    assert not decoding_threads()


# -- a model of one's own -------------------------------------------------------------------------


def test_a_model_of_ones_own_makes_trees_that_name_it(photos):
    tree = parser(Colours(), views=2).parse(photos[1])
    assert tree.meta["backbone"]["name"] == "colours (2 views)"
    assert tree.meta["backbone"]["sha256"] == "1"
    assert tree.meta["settings"]["backbone"] == "colours"
    assert tree.meta["settings"]["dtype"] == "float32"
    cropped = parser(Colours(), kernel=32, stride=16).features(photos[1])
    assert cropped.shape == parser().features(photos[1]).shape


def changed(**parts: object) -> Colours:
    model = Colours()
    for part, value in parts.items():
        setattr(model, part, value)
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (object(), "backbone object has no attribute 'name'; it needs name, digest, patch, dim, "),
        (changed(patch=0), "backbone Colours: patch must be a whole number of pixels, got 0"),
        (changed(dim=True), "dim must be a whole number, got True"),
        (changed(device="cpu"), r"device must be a torch\.device, got 'cpu'"),
        (
            changed(dtype=torch.float64),
            r"dtype must be one of torch\.float32, .*got torch\.float64",
        ),
        (changed(features=None), r"backbone Colours has no method features\(pixels\)"),
        (changed(name="precomputed:here"), "name must not .* got 'precomputed:here'"),
        (changed(name=""), "name must not be empty.* got ''"),
    ],
)
def test_what_is_no_backbone_is_told_at_once(model, message):
    with pytest.raises(BackboneError, match=message):
        RegionParser(backbone=model)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (torch.ones(1, 3, 6, 8), r"got \(1, 3, 6, 8\) of torch\.float32"),
        (torch.ones(1, 6, 8, 3, dtype=torch.int32), r"got \(1, 6, 8, 3\) of torch\.int32"),
        (np.ones((1, 6, 8, 3)), "got ndarray"),
    ],
)
@pytest.mark.parametrize("views", [1, 4])
def test_what_it_gives_is_checked(photos, found, said, views):
    wrong = changed(features=lambda pixels: found)
    message = rf"backbone 'colours': features\(\) of pixels .* must be a tensor .*{said}"
    with pytest.raises(BackboneError, match=message):
        parser(wrong, views=views).features(photos[1])


def test_half_precision_and_gradients_do_not_get_through(photos):
    weight = torch.ones(3, requires_grad=True)

    class Learning(Colours):
        def features(self, pixels: Tensor) -> Tensor:
            return (super().features(pixels) * weight).half()

    found = parser(Learning()).features(photos[1])
    assert found.dtype == torch.float32
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "bfloat16"}, "dtype 'bfloat16' is not the dtype of backbone 'colours'"),
        ({"layers": -1}, "layers cannot be set for backbone 'colours'"),
        ({"facet": "key"}, "facet cannot be set"),
    ],
)
def test_settings_that_a_model_does_not_follow_are_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        parser(**changes)


def test_the_model_says_where_it_runs():
    elsewhere = changed(device=torch.device("meta"))
    assert RegionParser(backbone=elsewhere).device == torch.device("meta")
    with pytest.raises(SettingsError, match="device 'cpu' is not that of backbone 'colours', whic"):
        RegionParser(backbone=elsewhere, device="cpu")


# -- the compiler ---------------------------------------------------------------------------------


class Network(Colours):
    """With a module to compile."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.AvgPool2d(8), nn.Softplus())

    def features(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.model(pixels).permute(0, 2, 3, 1)
        return found


@pytest.fixture
def fake_compiler(monkeypatch):
    """In the place of torch.compile, whose import alone takes longer than all tests here."""
    asked: list[dict] = []

    def compile_(module: nn.Module, **options: object) -> nn.Module:
        asked.append(options)
        return module

    monkeypatch.setattr(torch, "compile", compile_)
    return asked


@pytest.mark.parametrize("own", [False, True])
def test_a_compiled_network_gives_the_same_and_leaves_the_other_alone(fake_compiler, own):
    plain = OwnModel(Network()) if own else Network()
    fast = compiled(plain)
    for shape in ((1, 3, 16, 24), (1, 3, 32, 16), (2, 3, 8, 8)):
        pixels = torch.rand(shape)
        torch.testing.assert_close(fast.features(pixels), plain.features(pixels))
    assert fake_compiler == [{"dynamic": True}]  # once, and not by what was left alone
    assert (fast.name, fast.digest, fast.patch) == (plain.name, plain.digest, plain.patch)


def test_the_parser_compiles_when_asked(fake_compiler, photos):
    plain = parser(Network()).features(photos[1])
    assert not fake_compiler
    torch.testing.assert_close(parser(Network(), compile=True).features(photos[1]), plain)
    assert len(fake_compiler) == 1


def test_without_a_compiler_it_runs_as_it_is_and_says_so_once(monkeypatch):
    def fail(*_: object, **__: object):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmore of it")

    monkeypatch.setattr(torch, "compile", fail)
    plain, fast = Network(), compiled(Network())
    pixels = torch.rand(1, 3, 16, 24)
    with pytest.warns(RuntimeWarning, match=r"uncompiled \(.*compiler found\)$"):
        assert torch.equal(fast.features(pixels), plain.features(pixels))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fast.features(pixels)


def test_errors_of_the_network_itself_are_not_blamed_on_the_compiler(fake_compiler):
    fast = compiled(Network())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="size"):
            fast.features(torch.rand(1, 3, 4, 4))


def test_methods_of_a_compiled_network_can_still_be_called():
    plain = Network()
    plain.model = nn.Linear(2, 3)
    wrapped = compiled(plain).model
    assert wrapped is not plain.model
    before = plain.model.weight.clone()
    wrapped.reset_parameters()
    assert not torch.equal(plain.model.weight, before)
    assert wrapped.in_features == 2
    with pytest.raises(AttributeError, match="nothing"):
        wrapped.nothing  # noqa: B018


def test_what_has_no_network_cannot_be_compiled():
    with pytest.raises(SettingsError, match="backbone 'colours' has no torch module as its attrib"):
        compiled(Colours())
    with pytest.raises(SettingsError, match="leave compile out"):
        parser(compile=True).features(EXAMPLE)
