"""Our class in Label Studio's framework for models: label-studio-ml of PyPI, which is 1.0.9.

Its server does not start with the packages that it asks for. Its class and the manager that calls
it do, and they are what is tried here. Version 2 is on GitHub only.
"""

from __future__ import annotations

import importlib.util
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from label_studio_ml.model import LabelStudioMLBase, LabelStudioMLManager
from PIL import Image

from regiontree.bridges import labelstudioml
from regiontree.export.labelstudio import LABELS


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with one photograph: blue and yellow halves."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, :48, 2] = pixels[:, 48:, :2] = 220
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/data/upload/a.png" else 404)
            self.send_header("Content-Length", str(len(buffer.getvalue())))
            self.end_headers()
            self.wfile.write(buffer.getvalue())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("LABEL_STUDIO_URL", url)
    monkeypatch.setenv("REGIONTREE_REGIONS", "4")
    monkeypatch.setenv("REGIONTREE_DEVICE", "cpu")
    monkeypatch.setattr(labelstudioml, "_backend", None)
    yield url
    server.shutdown()
    server.server_close()


def test_the_manager_predicts_with_our_class(address: str, tmp_path: Any) -> None:
    model_class = labelstudioml.RegionTreeModel
    assert issubclass(model_class, LabelStudioMLBase)
    assert labelstudioml.RegionTreeModel is model_class
    LabelStudioMLManager.initialize(model_class, model_dir=str(tmp_path))
    LabelStudioMLManager.fetch("1.17", LABELS)
    tasks = [{"id": 1, "data": {"image": "/data/upload/a.png"}}]
    (prediction,), _ = LabelStudioMLManager.predict(tasks, "1.17", LABELS)
    assert 1 <= len(prediction["result"]) <= 4
    assert {one["type"] for one in prediction["result"]} == {"brushlabels"}
    value = {"x": 10, "y": 50, "keypointlabels": ["region"]}
    context = {"result": [{"id": "k", "type": "keypointlabels", "value": value}]}
    (clicked,), _ = LabelStudioMLManager.predict(tasks, "1.17", LABELS, context=context)
    assert len(clicked["result"]) == 1
    assert model_class(label_config=LABELS).fit([]) == {}


def test_the_server_of_version_1_does_not_start() -> None:
    """If it does one day, the documentation must say so."""
    assert importlib.util.find_spec("label_studio_ml.api") is not None
    with pytest.raises(ImportError):
        importlib.import_module("label_studio_ml.api")
