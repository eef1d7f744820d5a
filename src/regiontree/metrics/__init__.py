"""Scores of region trees against ground truth.

>>> from regiontree.metrics import ClassTree, TreeMetric, contingency

From a mask to a figure: :func:`contingency` counts once what overlaps what, :func:`score_tree`
scores one image, :class:`TreeMetric` a data set of classes. Human segmentations have three scores:
:class:`CoveringMetric` for regions, :class:`ContourMetric` for borders, and :class:`ObjectsMetric`
for objects and their parts. :class:`BsdsMetric` has all three. :class:`RecallMetric` counts the
things that are among the nodes. :class:`CategoryMetric` scores categories that photographs share.
"""

from regiontree.metrics.boundary import BoundaryMetric, BoundaryScores, boundary_scores
from regiontree.metrics.bsds import CoveringMetric, CoveringPoint, CoveringScores
from regiontree.metrics.budget import budget_nodes
from regiontree.metrics.categories import CategoryMetric, CategoryScores
from regiontree.metrics.classes import ClassTree
from regiontree.metrics.contingency import Contingency, contingency, region_counts
from regiontree.metrics.contours import ContourMetric, ContourPoint, ContourScores, match_borders
from regiontree.metrics.matching import prototype_table
from regiontree.metrics.metric import CurvePoint, Scores, TreeMetric
from regiontree.metrics.objects import ObjectsMetric, ObjectsPoint, ObjectsScores, object_scores
from regiontree.metrics.recall import RecallMetric, RecallScores, Segments
from regiontree.metrics.report import METRICS, Column, MeanMetric, Pair, Question, ReportMetric
from regiontree.metrics.reportedbsds import BsdsMetric, BsdsScores, CutScores
from regiontree.metrics.score import ImageScore, score_tree
from regiontree.metrics.segmentmap import SegmentMap, persistence, ranked_masks, steady_persistence

__all__ = [
    "METRICS",
    "BoundaryMetric",
    "BoundaryScores",
    "BsdsMetric",
    "BsdsScores",
    "CategoryMetric",
    "CategoryScores",
    "ClassTree",
    "Column",
    "Contingency",
    "ContourMetric",
    "ContourPoint",
    "ContourScores",
    "CoveringMetric",
    "CoveringPoint",
    "CoveringScores",
    "CurvePoint",
    "CutScores",
    "ImageScore",
    "MeanMetric",
    "ObjectsMetric",
    "ObjectsPoint",
    "ObjectsScores",
    "Pair",
    "Question",
    "RecallMetric",
    "RecallScores",
    "ReportMetric",
    "Scores",
    "SegmentMap",
    "Segments",
    "TreeMetric",
    "boundary_scores",
    "budget_nodes",
    "contingency",
    "match_borders",
    "object_scores",
    "persistence",
    "prototype_table",
    "ranked_masks",
    "region_counts",
    "score_tree",
    "steady_persistence",
]
