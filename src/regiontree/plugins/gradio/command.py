"""``regiontree app``: the page on this machine, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regiontree.errors import SettingsError
from regiontree.plugins.gradio.application import STYLE, make_app
from regiontree.plugins.gradio.visit import MAX_SIDE
from regiontree.system.signals import interruptible
from regiontree.system.terminal import say

__all__ = ["launch_options", "serve_app"]

_SESSIONS = 64  # visitors whose trees are kept; the one that was here longest ago goes first


def launch_options(host: str, port: int) -> dict[str, Any]:
    """How Gradio serves the page: no link to the outside, no fonts from elsewhere, own errors."""
    import gradio as gr

    theme = gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate",
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip
    return {
        "server_name": host, "server_port": port or None, "share": False, "quiet": True,
        "show_error": False, "theme": theme, "css": STYLE, "max_file_size": "64mb",
        "footer_links": [], "enable_monitoring": False, "state_session_capacity": _SESSIONS,
    }  # fmt: skip


def serve_app(
    options: Mapping[str, Any],
    *,
    host: str,
    port: int,
    max_side: int = MAX_SIDE,
    examples: Sequence[str | Path] = (),
) -> int:
    """Serve the page until Ctrl-C; the exit code.

    Raises
    ------
    RegionTreeError
        Gradio is not installed, an option is wrong, or the port is taken.
    """
    page = make_app(options, max_side=max_side, examples=examples)
    try:
        _, address, _ = page.launch(prevent_thread_lock=True, **launch_options(host, port))
    except OSError as error:
        raise SettingsError(
            f"port {port} of {host} cannot be used ({error}); give another by --port, or 0 for a "
            "free one"
        ) from None
    say(f"the app is at {address}  (Ctrl-C ends it)")
    if host not in ("127.0.0.1", "localhost", "::1"):
        say("it answers other machines, too: anybody who reaches it can have photographs parsed")
    try:
        with interruptible():
            page.block_thread()
    except KeyboardInterrupt:
        pass
    finally:
        page.close(verbose=False)
    return 0
