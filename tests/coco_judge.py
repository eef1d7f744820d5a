"""Average recall as COCO's own evaluation computes it, from masks of pixels."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
import pytest

__all__ = ["by_coco"]

Judged = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def by_coco(images: Sequence[Judged], limits: Sequence[int]) -> np.ndarray:
    """AR of sizes and limits, (4, L), NaN where no segment has the size.

    Of each image: scores (N,), masks (N, H, W), segments (G, H, W) and which of them are crowds.
    """
    pytest.importorskip("pycocotools", reason="COCO's own evaluation is not installed")
    from pycocotools import mask as runs
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def coded(mask: np.ndarray) -> dict:
        return runs.encode(np.asfortranarray(mask.astype(np.uint8)))

    truth: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    results = []
    for image, (score, masks, segments, crowd) in enumerate(images, 1):
        truth["images"].append({"id": image, "height": masks.shape[1], "width": masks.shape[2]})
        for segment, is_crowd in zip(segments, crowd, strict=True):
            truth["annotations"].append({
                "id": len(truth["annotations"]) + 1, "image_id": image, "category_id": 1,
                "segmentation": coded(segment), "area": int(segment.sum()),
                "iscrowd": int(is_crowd), "bbox": [0, 0, 1, 1],
            })  # fmt: skip
        results += [
            {"image_id": image, "category_id": 1, "segmentation": coded(mask), "score": float(own)}
            for own, mask in zip(score, masks, strict=True)
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "segm")
        judge.params.useCats = 0
        judge.params.maxDets = list(limits)
        judge.evaluate()
        judge.accumulate()
    recall = judge.eval["recall"][:, 0]  # thresholds, sizes, limits
    return np.where(recall < 0, np.nan, recall).mean(axis=0)
