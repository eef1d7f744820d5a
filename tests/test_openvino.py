"""The embedded network run by OpenVINO: its features beside torch's, its settings, its silence."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import EXAMPLE, refused
from torch.nn.functional import cosine_similarity

from regiontree import RegionParser
from regiontree.backbones import FeatureSpec
from regiontree.backbones import openvino as runtime
from regiontree.backbones.cache import cache_folder
from regiontree.backbones.embedded import EmbeddedBackbone
from regiontree.backbones.openvino import OpenVinoBackbone
from regiontree.errors import BackboneError, MissingExtraError, SettingsError
from regiontree.settings import Settings

CPU = torch.device("cpu")
SPECS = {
    "values": FeatureSpec(),
    "tokens": FeatureSpec(facet="token"),
    "keys of two blocks": FeatureSpec(layers=(9, 12), facet="key", positions="published"),
}


@pytest.fixture
def openvino(embedded_installed: None) -> None:
    # find_spec, because an import would send a message before the tests that forbid it
    from importlib.util import find_spec

    if find_spec("openvino") is None:
        pytest.skip("the extra 'openvino' is not installed")


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Two images of 6 x 9 patches."""
    return torch.rand(2, 3, 6 * 14, 9 * 14, generator=torch.Generator().manual_seed(3))


def cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return cosine_similarity(one.double(), other.double(), dim=3)


FREED_ELSEWHERE = """
import gc, signal, threading
import torch
from regiontree.backbones.openvino import OpenVinoBackbone

networks = [OpenVinoBackbone(torch.device("cpu"), torch.float32)]
thread = threading.Thread(target=lambda: (networks.clear(), gc.collect()))
thread.start()
thread.join()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")
@pytest.mark.usefixtures("openvino")
def test_an_interruption_after_another_thread_freed_the_network_is_no_crash():
    ended = subprocess.run(
        [sys.executable, "-c", FREED_ELSEWHERE], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "interrupted"), ended.stderr


@pytest.mark.usefixtures("openvino")
class TestFeatures:
    @pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
    def test_in_float32_they_are_those_of_torch(self, spec, pixels):
        exact = EmbeddedBackbone(CPU, torch.float32, spec).features(pixels)
        found = OpenVinoBackbone(CPU, torch.float32, spec).features(pixels)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
    def test_in_8_bits_they_are_close_and_not_equal(self, spec, pixels):
        exact = EmbeddedBackbone(CPU, torch.float32, spec).features(pixels)
        found = OpenVinoBackbone(CPU, torch.int8, spec).features(pixels)
        assert cosines(found, exact).mean() > 0.998
        assert not torch.allclose(found, exact, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
    def test_an_image_has_the_same_features_alone_and_again(self, dtype, pixels):
        network = OpenVinoBackbone(CPU, dtype)
        both = network.features(pixels)
        assert torch.equal(network.features(pixels[1:]), both[1:])
        other = network.features(pixels[:, :, :28])  # another size between
        assert other.shape == (2, 2, 9, network.dim)
        assert torch.equal(network.features(pixels), both)

    def test_an_image_of_half_patches_is_refused(self, pixels):
        with refused(SettingsError, "multiple"):
            OpenVinoBackbone(CPU, torch.float32).features(pixels[:, :, :20])

    def test_threads_may_run_the_network_at_the_same_time(self, pixels):
        from concurrent.futures import ThreadPoolExecutor

        network = OpenVinoBackbone(CPU, torch.float32)
        alone = network.features(pixels)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: network.features(pixels), range(8)))
        assert all(torch.equal(features, alone) for features in found)


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize(
    ("changes", "dtype"),
    [({"dtype": "int8"}, "int8"), ({"backbone": {"runtime": "openvino"}}, "float32")],
)
def test_a_tree_says_what_ran_its_network(changes, dtype):
    parser = RegionParser(preset="fast", size=140, device="cpu", **changes)
    meta = parser.parse(EXAMPLE).meta
    assert meta["backbone"]["name"] == "embedded (openvino)"
    assert meta["backbone"]["dtype"] == dtype
    assert Settings.make(**meta["settings"]) == parser.settings


@pytest.mark.usefixtures("openvino")
def test_it_cannot_be_compiled_by_torch():
    parser = RegionParser(preset="fast", dtype="int8", device="cpu", compile=True)
    with refused(SettingsError, "leave compile out"):
        _ = parser.backbone


@pytest.mark.usefixtures("openvino")
def test_importing_it_sends_nothing_and_writes_no_file(tmp_path):
    """OpenVINO's own import tells Google Analytics of itself and keeps an id in the home folder."""
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): print('network used', a); raise OSError\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from regiontree import RegionParser\n"
        "parser = RegionParser(preset='fast', size=140, dtype='int8', device='cpu')\n"
        f"parser.parse({str(EXAMPLE)!r})\n"
        "print('openvino' in sys.modules, 'openvino_telemetry' in sys.modules)\n"
    )
    home = {name: str(tmp_path) for name in ("HOME", "USERPROFILE")}
    home |= {"REGIONTREE_CACHE": str(cache_folder())}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **home, "NUMBA_CACHE_DIR": str(tmp_path / "numba")},
    )
    assert done.stdout.split() == ["True", "False"]
    assert [path.name for path in tmp_path.iterdir() if path.name != "numba"] == []


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[openvino\]'$"):
        OpenVinoBackbone(CPU, torch.float32)


def test_another_device_is_refused():
    with refused(BackboneError, "cuda", "--device cpu"):
        OpenVinoBackbone(torch.device("cuda"), torch.float32)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"dtype": "int8", "backbone.runtime": "torch"}, ("int8", "torch")),
        ({"dtype": "bfloat16", "backbone.runtime": "openvino"}, ("bfloat16", "openvino")),
        ({"dtype": "int8", "backbone": "dinov2_vits14"}, ("int8", "dinov2_vits14")),
        ({"backbone.runtime": "openvino", "backbone": "precomputed"}, ("openvino", "precomputed")),
    ],
)
def test_what_it_cannot_run_is_refused_by_the_settings(changes, facts):
    with refused(SettingsError, *facts):
        Settings.make(**changes)


def test_a_model_of_ones_own_runs_in_torch():
    class Colours:
        name, digest, patch, dim = "colours", "1", 8, 3
        device, dtype = CPU, torch.float32

        def features(self, pixels):
            return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1)

    settings = Settings.make("fast", **{"backbone.runtime": "openvino"})
    with refused(SettingsError, "openvino", "colours"):
        RegionParser(backbone=Colours(), settings=settings)


def test_whole_numbers_and_scales_give_the_weights_back():
    weight = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    weight[2] = 0
    scale, rounded = runtime._rounded(weight)
    assert rounded.dtype == np.int8
    assert np.abs(rounded).max(axis=1).tolist() == [127, 127, 0, 127, 127]
    assert (np.abs(scale * rounded - weight) <= scale / 2 + 1e-7).all()
