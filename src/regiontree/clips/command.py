"""``regiontree segment --clip``: what it shows on the terminal, what it writes, its exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from regiontree.clips.parser import ClipParser
from regiontree.clips.settings import ClipSettings
from regiontree.clips.spool import Spool
from regiontree.errors import RegionTreeError, SettingsError
from regiontree.frames import Frames, open_frames
from regiontree.parser import RegionParser
from regiontree.system.damage import plain_reason
from regiontree.system.paths import CLIP_SUFFIX, require_writable
from regiontree.system.progress import Bar, progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.stages import keys_of, value_of_text, values_of
from regiontree.system.temporary import remove_leftovers
from regiontree.system.terminal import say
from regiontree.tree import read_clip_meta, write_clip_file

__all__ = ["Selected", "parted", "run"]


@dataclass(frozen=True, slots=True)
class Selected:
    """Which frames of a clip are read: see :func:`regiontree.frames.open_frames`."""

    every: int = 1
    fps: float | None = None
    start: float | None = None
    end: float | None = None
    joint: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any], *, joint: bool, clip: bool) -> Selected:
        """The options that were given; the others have their defaults.

        Raises
        ------
        SettingsError
            Options that contradict each other.
        """
        if joint and clip:
            raise SettingsError(
                "--clip and --joint contradict each other: frames follow one another, photographs "
                "of a set do not; leave one of them out"
            )
        return cls(joint=joint, **{k: v for k, v in given.items() if v is not None})


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of one clip."""

    source: str
    status: str  # done, skipped, failed or interrupted
    tree: str
    frames: int | None = None
    seconds: float | None = None
    error: str | None = None


def parted(assignments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Assignments of ``--set``: those of a photograph's settings, and the values of a clip's.

    Examples
    --------
    >>> parted(["clip.window=24", "smooth.steps=1"])
    (['smooth.steps=1'], {'window': 24})

    A name that is no setting of clips is kept, for the message that says so.
    """
    others, own = [], {}
    keys = keys_of(ClipSettings)
    for assignment in assignments:
        if not assignment.startswith("clip."):
            others.append(assignment)
            continue
        name, _, value = assignment.removeprefix("clip.").partition("=")
        own[name] = value_of_text(keys[name], value) if name in keys else value
    return others, own


def run(
    parser: RegionParser,
    sources: Sequence[str],
    out: Path,
    clip: Mapping[str, Any],
    selected: Selected,
    *,
    overwrite: bool,
    as_json: bool,
    refused: Sequence[str] = (),
) -> int:
    """Parse clips behind a progress bar on standard error; the exit code.

    Each source is a clip: a film, a file of several pages or frames, or a folder of frames. With
    ``selected.joint`` all sources together are one set of photographs.

    Raises
    ------
    RegionTreeError
        Nothing can be done: two clips would have one name, the folder cannot be written, or an
        option is of no use for clips (`refused` names it).
    """
    if refused:
        raise SettingsError(f"{refused[0]} is not for clips; leave it out")
    if not str(out) or "://" in str(out):
        raise SettingsError(f"{out}: trees of clips go into a folder of this machine")
    work = ClipParser(parser, clip=clip)
    clips = _named(sources, joint=selected.joint)
    require_writable(out)
    remove_leftovers(out)
    results: list[_Result] = []
    with interruptible() as check:
        for name, source in clips.items():
            one = _Work(work, source, out / f"{name}{CLIP_SUFFIX}", selected, check)
            results.append(one.result(overwrite=overwrite))
            if results[-1].status == "interrupted":
                break
    states = [result.status for result in results]
    said = ", ".join(f"{states.count(state)} {state}" for state in ("done", "skipped", "failed"))
    say(f"{said}; trees in {out}")
    if as_json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    if "interrupted" in states:
        say("interrupted: run the same command again to do the rest")
        return 130
    if "failed" in states:
        return 2 if len(set(states)) == 1 else 1
    return 0


def _named(sources: Sequence[str], *, joint: bool) -> dict[str, Any]:
    """The clips by the names of their trees.

    Raises
    ------
    SettingsError
        Two clips would have one name.
    """
    if joint:
        photos = list(sources)
        if len(photos) == 1:
            return {Path(photos[0]).stem or "photographs": photos[0]}
        return {"photographs": photos}
    clips: dict[str, Any] = {}
    for source in sources:
        name = Path(source).name if Path(source).is_dir() else Path(source).stem
        name = name or Path(source).resolve().name
        if name in clips:
            raise SettingsError(
                f"{clips[name]} and {source} would both become {name}{CLIP_SUFFIX}; give them "
                "different output folders, in two commands"
            )
        clips[name] = source
    return clips


class _Work:
    """One clip on its way to a tree file."""

    def __init__(
        self,
        parser: ClipParser,
        source: Any,
        path: Path,
        selected: Selected,
        check: Callable[[], None],
    ) -> None:
        self.parser, self.source, self.path = parser, source, path
        self.selected, self.check = selected, check

    def result(self, *, overwrite: bool) -> _Result:
        """Make the tree, or say why not."""
        start = time.perf_counter()
        source = self.source if isinstance(self.source, str) else f"{len(self.source)} photographs"

        def result(status: str, **facts: Any) -> _Result:
            return _Result(source, status, str(self.path), **facts)

        try:
            frames = open_frames(
                self.source, **asdict(self.selected),
                max_pixels=self.parser.parser.sight.max_pixels,
            )  # fmt: skip
            if not overwrite and self._is_finished(frames):
                return result("skipped")
            count = self._make(frames)
        except (RegionTreeError, OSError) as error:
            text = str(error) if isinstance(error, RegionTreeError) else plain_reason(error)
            say(f"failed: {text}")
            return result("failed", error=text)
        except KeyboardInterrupt:
            return result("interrupted")
        return result("done", frames=count, seconds=round(time.perf_counter() - start, 3))

    def _run(self, frames: Frames) -> dict[str, Any]:
        """What decides the tree, as JSON values."""
        return {
            "sha256": frames.digest,
            "selected": asdict(self.selected),
            "clip": values_of(self.parser.clip),
            "settings": self.parser.parser.settings.as_dict(),
            "backbone": self.parser.parser.describe(),
        }

    def _is_finished(self, frames: Frames) -> bool:
        """Whether the tree is there.

        Raises
        ------
        SettingsError
            A tree of another clip, or one made with other settings, is there.
        """
        if not self.path.exists():
            return False
        made = read_clip_meta(self.path).get("clip", {}).get("run")
        if made == json.loads(json.dumps(self._run(frames))):
            return True
        what = "another clip" if (made or {}).get("sha256") != frames.digest else "other settings"
        raise SettingsError(
            f"{self.path} is the tree of {what}; give --overwrite to replace it, or another folder"
        )

    def _make(self, frames: Frames) -> int:
        """Draw the windows that are not there yet, and write the tree; the number of frames."""
        spool = Spool(self.path, self._run(frames))
        with progress_bar("frames", frames.count) as bar:
            start = time.perf_counter()
            self._reach(bar, spool, start, 0)
            before = _frames_of(spool)
            for window in self.parser.windows(frames, spool.last):
                spool.add(window)
                self._reach(bar, spool, start, before)
                self.check()
            nodes = self.parser.nodes(frames, spool)
            meta = {**nodes.meta, "clip": {**nodes.meta["clip"], "run": self._run(frames)}}
            write_clip_file(self.path, nodes.arrays, meta, nodes.label_maps(spool))
        for note in frames.facts.get("notes", ()):
            say(f"{frames.name}: {note}")
        spool.remove()
        return _frames_of(spool)

    @staticmethod
    def _reach(bar: Bar, spool: Spool, start: float, before: int) -> None:
        done = _frames_of(spool)
        rate = (done - before) / max(time.perf_counter() - start, 1e-9)
        bar.reach(done, rate=f"{rate:.2f} frames/s" if done > before else "")


def _frames_of(spool: Spool) -> int:
    return 0 if spool.last is None else spool.last.first + len(spool.last.maps)
