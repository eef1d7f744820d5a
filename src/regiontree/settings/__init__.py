"""Every setting that shapes a tree: one frozen record a stage, and one record of all stages.

==========  ===========================================================================  ==========
stage       what it decides                                                              main key
==========  ===========================================================================  ==========
backbone    which network, in which precision, and which of its features                 name
view        at which size and how often the network sees the photograph
smooth      how far features are smoothed over the patch grid                            steps
affinity    how similarity of features becomes affinity                                  kind
parts       how patches are grouped into parts (``method`` chooses)                      count
tree        how parts become a tree (``builder`` chooses)                                builder
refine      how borders move from patches to pixels (``method`` chooses)                 method
seed        every random step                                                            seed
embeddings  whether a tree has the embeddings of its nodes                               embeddings
stability   how steady each node is                                                      stability
==========  ===========================================================================  ==========

A setting is named ``stage.key``, such as ``parts.count``. In Python and in files a stage is a
mapping, ``parts={"count": 200}``. A plain value sets the stage's main key, ``parts=200``.
``regiontree settings`` prints every setting with its default, range and meaning.

The keys of the stages ``parts``, ``tree`` and ``refine`` depend on the chosen method: they are the
fields of the method's own class. So a new tree builder brings its settings with it.
"""

from regiontree.settings.names import FLAT_NAMES, UNRECORDED
from regiontree.settings.presets import PRESETS
from regiontree.settings.record import Settings, record_differences
from regiontree.settings.stages import (
    CHOICES,
    OVERSEGMENTATIONS,
    RECORDS,
    BackboneSettings,
    SmoothSettings,
    ViewSettings,
    known_keys,
)

__all__ = [
    "CHOICES",
    "FLAT_NAMES",
    "OVERSEGMENTATIONS",
    "PRESETS",
    "RECORDS",
    "UNRECORDED",
    "BackboneSettings",
    "Settings",
    "SmoothSettings",
    "ViewSettings",
    "known_keys",
    "record_differences",
]
