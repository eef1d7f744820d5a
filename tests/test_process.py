"""A guest in somebody's process: what belongs to the program stays as it is, during and after.

Four threads parse, show, export and read at once, while a fifth watches the program's settings.
"""

from __future__ import annotations

import copy
import gc
import http.client
import locale
import logging
import os
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from conftest import blocks
from PIL import Image, ImageFile, PngImagePlugin
from threadpoolctl import threadpool_info

import regiontree
from regiontree import RegionParser, RegionTree, cli, parser
from regiontree.backbones.featurefile import load_features, save_features
from regiontree.export import command as export_command
from regiontree.forest.sources import open_outline, open_source
from regiontree.images import load_image
from regiontree.system.lazy import lazy
from regiontree.system.locks import Lock, Together
from regiontree.system.threads import one_thread, threads_after_fork

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


class Colours:
    """A network whose features are the mean colours of patches."""

    name, digest, patch, dim = "colours", "1", 8, 3
    device, dtype = torch.device("cpu"), torch.float32

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1)


def photograph(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((144, 96), Image.Resampling.BICUBIC))


def in_threads(*work: Callable[[], object]) -> None:
    """Do all work at once. An error of a thread becomes one of the test."""
    errors: list[BaseException] = []

    def watched(one: Callable[[], object]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001  raised again below
            errors.append(error)

    threads = [threading.Thread(target=watched, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def settings_of_the_process() -> dict[str, Any]:
    """What any thread of the program can see and change."""
    status = Path("/proc/self/status")
    shown = status.read_text().splitlines() if status.exists() else []
    matplotlib = sys.modules.get("matplotlib")
    loggers = {
        name: (one.level, tuple(one.handlers), one.propagate, one.disabled, tuple(one.filters))
        for name, one in list(logging.root.manager.loggerDict.items())
        if isinstance(one, logging.Logger)
    }
    return {
        "umask": [line for line in shown if line.startswith("Umask")],
        "warnings": (list(warnings.filters), warnings.showwarning),
        "signals": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)],
        "exceptions": (sys.excepthook, threading.excepthook, sys.getrecursionlimit()),
        "streams": (sys.stdout, sys.stderr, sys.stdin),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "locale": locale.setlocale(locale.LC_ALL),
        "random": (random.getstate(), repr(np.random.get_state()),  # noqa: NPY002
                   torch.get_rng_state().tolist()),
        "pillow": (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES,
                   PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY),
        "torch": (torch.get_default_dtype(), torch.get_default_device(),
                  torch.are_deterministic_algorithms_enabled(),
                  torch.get_float32_matmul_precision(), torch.get_num_interop_threads(),
                  torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "threads": (torch.get_num_threads(),
                    [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]),
        "numpy": (np.geterr(), np.get_printoptions()),
        "figures": dict(matplotlib.rcParams) if matplotlib else None,
        "logging": (logging.root.level, logging.root.handlers[:], logging.root.manager.disable,
                    {name: said for name, said in loggers.items() if "uvicorn" in name}),
    }  # fmt: skip


def changed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (before[name], now[name]) for name in before if before[name] != now[name]}


# -- four threads at once -------------------------------------------------------------------------


def visit(tree: RegionTree, name: str, folder: Path) -> None:
    """What programs do with a tree: keep it, read it, export it, show it."""
    from regiontree.viewer.page import page_html

    file = folder / f"{name}.npz"
    tree.save(file)
    assert RegionTree.load(file) == tree
    tree.to_coco()
    tree.to_geojson()
    tree.export("newick", folder / f"{name}.nwk")
    page_html(open_source(file))
    assert tree._repr_html_()


def test_four_threads_leave_the_process_as_found_and_make_the_trees_of_one(tmp_path):
    pytest.importorskip("matplotlib")
    photos = []
    for i in range(4):
        photos.append(tmp_path / f"{i}.png")
        Image.fromarray(photograph(i)).save(photos[-1])
    options: list[dict[str, Any]] = [
        {"size": 96, "parts": 40}, {"size": 144, "preset": "fast"},
        {"size": 96, "preset": "published"}, {"size": 96, "overclustering": "features"},
    ]  # fmt: skip
    options = [{**one, "backbone": Colours()} for one in options]
    shared = RegionParser(**options[0])
    features = [blocks(20, 20, seed=i) for i in range(4)]
    built = RegionParser(backbone="precomputed", parts=40, device="cpu")
    expected = [
        ([RegionParser(**options[i]).parse(photos[i]) for i in range(4)]),
        ([shared.parse(photo) for photo in photos]),
        ([built.build(one) for one in features]),
    ]
    visit(expected[0][0], "first", tmp_path)  # imports what is imported when it is first needed
    expected[0][0].show()
    torch.manual_seed(1)
    before, seen, done = settings_of_the_process(), [], threading.Event()

    def work(thread: int) -> None:
        order = random.Random(thread)
        for turn, i in enumerate(order.sample(range(4), 4)):
            assert regiontree.parse(photos[i], **options[i]) == expected[0][i]
            assert shared.parse(photos[i]) == expected[1][i]
            assert built.build(features[i]) == expected[2][i]
            assert load_image(photos[i]).rgb.shape == (96, 144, 3)
            kept = tmp_path / f"{thread}.safetensors"
            save_features(kept, shared.extract(photos[i]), {})
            load_features(kept)
            visit(expected[1][i], f"{thread} {turn}", tmp_path)

    def watch() -> None:
        found = settings_of_the_process()  # of this thread
        while not done.wait(0.005):
            if difference := changed(found, settings_of_the_process()):
                seen.append(difference)
                return

    def all_four() -> None:
        try:
            in_threads(*(lambda i=i: work(i) for i in range(4)))
        finally:
            done.set()

    in_threads(all_four, watch)
    assert not seen, seen[0]
    assert not changed(before, settings_of_the_process())


def test_a_server_leaves_the_programs_loggers_alone(tmp_path):
    pytest.importorskip("uvicorn")
    from regiontree.viewer import application, server

    tree = RegionParser(backbone="precomputed", device="cpu", parts=8).build(blocks())
    tree.save(tmp_path / "a.npz")
    own, requests = logging.getLogger("uvicorn.access"), []
    handler = logging.Handler()
    handler.emit = requests.append  # type: ignore[method-assign]
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    try:
        before = settings_of_the_process()
        app = application.make_app([open_outline(tmp_path / "a.npz")], "token")
        with socket.create_server(("127.0.0.1", 0)) as listener, server.serving(app, listener):
            asked = http.client.HTTPConnection(*listener.getsockname()[:2], timeout=20)
            asked.request("GET", "/token/0/")
            assert asked.getresponse().read().startswith(b"<!doctype html>")
            asked.close()
            assert not changed(before, settings_of_the_process())
        assert not changed(before, settings_of_the_process())
        assert requests == []  # the address contains the viewer's password
    finally:
        own.removeHandler(handler)
        own.setLevel(logging.NOTSET)


def test_commands_work_outside_the_main_thread(tmp_path, capsys):
    tree = RegionParser(backbone="precomputed", device="cpu", parts=8).build(blocks())
    tree.save(tmp_path / "a.npz")
    codes = []
    in_threads(
        lambda: codes.append(
            export_command.run([tmp_path / "a.npz"], "newick", tmp_path / "out", overwrite=False,
                               as_json=False)
        )
    )  # fmt: skip
    assert codes == [0]
    assert (tmp_path / "out").exists()


# -- threads of the algebra -----------------------------------------------------------------------


def test_one_thread_is_a_limit_of_the_calling_thread_alone():
    """Two blocks at once, of which the first to start ends first."""
    first, second, ended = threading.Event(), threading.Event(), threading.Event()
    seen: dict[str, int] = {}

    def one() -> None:
        torch.set_num_threads(2)
        with one_thread():
            seen["inside"] = torch.get_num_threads()
            first.set()
            second.wait(20)
        seen["after"] = torch.get_num_threads()
        ended.set()

    def other() -> None:
        torch.set_num_threads(3)
        first.wait(20)
        seen["beside"] = torch.get_num_threads()
        with one_thread(), one_thread():
            started = threading.Thread(target=later)
            started.start()
            started.join()
            second.set()
            ended.wait(20)
        seen["other after"] = torch.get_num_threads()

    def later() -> None:
        seen["later"] = torch.get_num_threads()

    before = torch.get_num_threads()
    try:
        in_threads(one, other)
    finally:
        torch.set_num_threads(before)
    # A new thread begins with the number that was set last, in whichever thread.
    assert seen.pop("later") in (2, 3)
    assert seen == {"inside": 1, "beside": 3, "after": 2, "other after": 3}


def test_mkl_obeys_one_thread():
    """MKL has a number of its own, which torch.set_num_threads sets."""
    if "mkl_get_max_threads" not in torch.__config__.parallel_info():
        pytest.skip("this torch has no MKL")

    def of_mkl() -> str:
        lines = torch.__config__.parallel_info().splitlines()
        return next(line for line in lines if "mkl_get_max_threads" in line).split()[-1]

    seen = []

    def work() -> None:
        torch.set_num_threads(2)
        with one_thread():
            seen.append(of_mkl())
        seen.append(of_mkl())

    before = torch.get_num_threads()
    try:
        in_threads(work)
    finally:
        torch.set_num_threads(before)
    assert seen == ["1", "2"]


@FORKS
def test_a_fork_of_a_process_that_has_parsed_does_not_hang():
    code = """
import os, sys
sys.path[:0] = [sys.argv[1]]
import numpy as np, torch
torch.set_num_threads(2)
from regiontree import RegionParser
from test_process import Colours
photo = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
parser = RegionParser(backbone=Colours(), size=300)
tree = parser.parse(photo)
child = os.fork()
if not child:
    # On one thread, sums may be rounded in another way.
    again = parser.parse(photo)
    os._exit(0 if again.shape == tree.shape and torch.get_num_threads() == 2 else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    # In a group of its own, so that a child that hangs ends with the parent.
    with subprocess.Popen(command, env=environment, start_new_session=True) as ran:
        try:
            assert ran.wait(60) == 0
        except subprocess.TimeoutExpired:
            os.killpg(ran.pid, signal.SIGKILL)
            pytest.fail("the fork hangs")


@FORKS
def test_a_fork_before_any_work_keeps_its_threads():
    code = (
        "import os, sys, torch; torch.set_num_threads(2)\n"
        "from regiontree.system.threads import threads_after_fork\n"
        "child = os.fork()\n"
        "with threads_after_fork(): number = torch.get_num_threads()\n"
        "if not child: os._exit(number)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 2


def test_threads_after_fork_changes_nothing_in_the_process_itself():
    before = torch.get_num_threads()
    with threads_after_fork():
        assert torch.get_num_threads() == before


# -- the network that is kept ---------------------------------------------------------------------


class Counted(Colours):
    """Says how many were loaded and are alive; it takes a while to load."""

    alive: ClassVar[weakref.WeakSet[Counted]] = weakref.WeakSet()
    loaded: ClassVar[int] = 0

    def __init__(self, *_: object) -> None:
        threading.Event().wait(0.05)
        Counted.loaded += 1
        Counted.alive.add(self)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    monkeypatch.setattr(parser, "load_backbone", Counted)
    monkeypatch.setattr(parser, "_kept", None)
    Counted.loaded = 0
    return Counted


def test_threads_that_share_a_parser_load_its_network_once(counted):
    shared = RegionParser(size=96)
    in_threads(*[lambda: shared.parse(photograph(0))] * 4)
    assert counted.loaded == 1


def test_parse_keeps_one_network(counted):
    photo = photograph(0)
    in_threads(*[lambda: regiontree.parse(photo, size=96, device="cpu")] * 4)
    assert counted.loaded == 1
    for parts in (20, 21, np.int64(22)):
        regiontree.parse(photo, size=96, device="cpu", parts=parts)
        gc.collect()
        assert len(counted.alive) == 1
    assert counted.loaded == 4
    tree = regiontree.parse(photo, size=96, device="cpu", parts=22)
    assert tree.meta["settings"]["parts"] == 22
    assert counted.loaded == 4


def test_the_kept_parser_is_found_without_a_new_one(counted, monkeypatch):
    options = {"size": 96, "device": "cpu", "tree": {"builder": "recursive", "levels": 5}}
    first = parser._parser_of(options)
    monkeypatch.setattr(parser, "RegionParser", None)
    assert parser._parser_of(copy.deepcopy(options)) is first


def test_options_that_only_look_equal_are_checked(counted):
    regiontree.parse(photograph(0), size=96, device="cpu", seed=1)
    with pytest.raises(regiontree.RegionTreeError, match="seed"):
        regiontree.parse(photograph(0), size=96, device="cpu", seed=True)


def test_another_model_of_ones_own_is_another_network():
    one, other = Colours(), Colours()
    other.name = "others"
    for model in (one, other, one):
        tree = regiontree.parse(photograph(0), size=96, views=1, backbone=model)
        assert tree.meta["backbone"]["name"] == model.name


def test_a_parser_can_be_copied_and_sent_to_another_process():
    built = RegionParser(backbone=Colours(), size=96)
    expected = built.parse(photograph(1))
    for other in (copy.deepcopy(built), pickle.loads(pickle.dumps(built))):
        assert other.parse(photograph(1)) == expected


# -- the program's own defaults -------------------------------------------------------------------


@pytest.mark.parametrize("builder", ["ward", "recursive"])
@pytest.mark.parametrize("default", ["dtype", "device"])
def test_the_programs_default_dtype_and_device_change_no_tree(default, builder):
    made = RegionParser(backbone=Colours(), size=96, tree=builder, tiles=192)
    other = RegionParser(backbone=Colours(), size=96, tree=builder, overclustering="features")
    expected = made.parse(photograph(2)), other.parse(photograph(2))
    try:
        if default == "dtype":
            torch.set_default_dtype(torch.float64)
        else:
            torch.set_default_device("meta")  # as a GPU would, it refuses to mix with the CPU
        assert (made.parse(photograph(2)), other.parse(photograph(2))) == expected
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def test_import_has_no_effect():
    code = """
import os, random, sys, threading, warnings, signal, logging
def state():
    return (dict(os.environ), warnings.filters[:], threading.active_count(), random.getstate(),
            signal.getsignal(signal.SIGINT), logging.root.handlers[:], sys.excepthook, os.getcwd())
before = state()
import regiontree, regiontree.cli
assert state() == before
from regiontree.system.progress import progress_bar
with progress_bar("nothing", 1):
    pass
assert state() == before
import torch, scipy.ndimage, scipy.sparse.linalg, scipy.special
before = state()
import regiontree.parser, regiontree.export, regiontree.backbones.weights
assert state() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_silences_pillow_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setattr(cli, "app", lambda: None)
    for options, added in (([], 1), (["error"], 0)):
        with warnings.catch_warnings():
            warnings.resetwarnings()
            monkeypatch.setattr(sys, "warnoptions", options)
            with pytest.raises(SystemExit):
                cli.main()
            assert len(warnings.filters) == added
            if added:
                assert warnings.filters[0][3].match("PIL.TiffImagePlugin")
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)


# -- locks ----------------------------------------------------------------------------------------


@FORKS
def test_a_lock_that_another_thread_holds_is_free_in_a_fork():
    lock, held, over = Lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            over.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of a fork beside threads
        child = os.fork()
    if not child:
        os._exit(0 if lock._lock.acquire(timeout=5) else 1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    over.set()
    thread.join()
    assert ended == 0


def test_a_change_that_threads_share_is_taken_back_by_the_last():
    state = ["as found"]

    def change() -> Callable[[], None]:
        before, state[0] = state[0], "changed"
        return lambda: state.__setitem__(0, before)

    together = Together(change)
    one, other = together(), together()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert state == ["changed"]
    other.__exit__(None, None, None)
    assert state == ["as found"]
    with pytest.raises(ValueError, match="work"), together():
        raise ValueError("work failed")
    assert state == ["as found"]


def test_a_lazy_attribute_is_computed_once_and_without_a_lock():
    inside, both = threading.Barrier(2, timeout=20), []

    class Slow:
        @lazy
        def value(self) -> int:
            """A value."""
            both.append(1)
            inside.wait()  # two objects compute at the same time
            return len(both)

    objects = Slow(), Slow()
    in_threads(*[lambda one=one: one.value for one in objects])
    assert len(both) == 2
    assert [vars(one)["value"] == one.value for one in objects] == [True, True]
    assert Slow.value.__doc__ == "A value."
