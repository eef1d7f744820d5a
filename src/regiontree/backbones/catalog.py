"""The backbones that have a name of their own, with the facts about each.

The names are those that the networks' publications and other code use: family, size, patch.
``dinov2_vitb14_reg`` is DINOv2's ViT-B with patches of 14 pixels and registers. The code reads size
and patch from the name. This package never contains the weights. They come from the Hugging Face
hub, or from their authors' own server if `url` is set. A revision is a commit of the hub's
repository that others have pinned and published, or None; see
:mod:`regiontree.backbones.weights`.

The licences are those of the weights' authors. If the hub's page names another licence, the entry
gives the stricter one and its note says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CATALOG", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A backbone that can be asked for by name.

    Attributes
    ----------
    name : str
    hub_id : str or None
        Repository on the hub, ``owner/model``. None if the weights are at `url`.
    revision : str or None
        Commit of that repository, 40 hexadecimal digits. None: that of the first download.
    patch : int
        Side of a patch in pixels.
    width : int
        Length of the feature of one patch.
    depth : int
        Number of blocks.
    prefix : int
        Number of tokens before the patch tokens: class, distillation, registers.
    licence : str
    gated : bool
        Whether the hub asks for an account that has accepted the licence.
    megabytes : int or None
        Size of the weight files in 10^6 bytes, rounded.
    family : str
    url : str or None
        Address of a checkpoint on its authors' server.
    sha256 : str or None
        sha256 of ``model.safetensors`` at `revision`, or of the file at `url`. None: not known.
    note : str
    """

    name: str
    hub_id: str | None
    revision: str | None
    patch: int
    width: int
    depth: int
    prefix: int
    licence: str
    gated: bool
    megabytes: int | None
    family: str
    url: str | None = None
    sha256: str | None = None
    note: str = ""


# Width and depth of the sizes of vision transformers.
_SIZES = {
    "t": (192, 12),
    "s": (384, 12),
    "b": (768, 12),
    "l": (1024, 24),
    "so": (1152, 27),
    "h": (1280, 32),
    "g": (1536, 40),
    "7b": (4096, 40),
}
_SIZE_AND_PATCH = re.compile(r"_vit(7b|so|[a-z])(\d+)")
_SIGLIP = "trained on image and text pairs, both encoders in the file; no class token"
_CLIP = "trained on image and text pairs, both encoders in the file"
_MAE = "the hub's page says Apache-2.0, the authors' repository CC-BY-NC-4.0"


def _family(
    family: str,
    licence: str,
    *rows: tuple[str, str, str | None, int | None],
    prefix: int = 1,
    gated: bool = False,
    note: str = "",
) -> list[Entry]:
    """Entries from rows of name, hub id or address, revision, megabytes."""
    entries = []
    for name, source, revision, megabytes in rows:
        size, patch = _SIZE_AND_PATCH.search(name).groups()  # type: ignore[union-attr]
        width, depth = _SIZES[size]
        at_url = source.startswith("https://")
        entries.append(
            Entry(
                name=name,
                hub_id=None if at_url else source,
                revision=revision,
                patch=int(patch),
                width=width,
                depth=depth,
                prefix=prefix,
                licence=licence,
                gated=gated,
                megabytes=megabytes,
                family=family,
                url=source if at_url else None,
                sha256=_SHA256.get(name),
                note=note,
            )
        )
    return entries


# Published by at least two independent users of the revision below.
_SHA256 = {
    "dinov2_vits14": "ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
    "dinov3_vits16": "4610ad75edef83e75afdebf162d148dc628045ea6cbb83d67d4708c709c4f91d",
}
_META_V3 = "https://dl.fbaipublicfiles.com/moco-v3"

# fmt: off
_ENTRIES = [
    *_family(
        "DINO", "Apache-2.0",
        ("dino_vits8", "facebook/dino-vits8", "1319d0b9b8acf4d705f08403bc286f4fe9cc7ee8", 87),
        ("dino_vits16", "facebook/dino-vits16", "abe3b354cb6a9b6f146096b14a4a9d7eecbcb4bd", 87),
        ("dino_vitb8", "facebook/dino-vitb8", None, 343),
        ("dino_vitb16", "facebook/dino-vitb16", "f205d5d8e640a89a2b8ef0369670dfc37cc07fc2", 343),
    ),
    Entry(
        "dino_resnet50", "Ramos-Ramos/dino-resnet-50", None, 32, 2048, 4, 0, "Apache-2.0", False,
        94, "DINO", note="a ResNet-50 of 4 stages; converted by a third party",
    ),
    *_family(
        "DINOv2", "Apache-2.0",
        ("dinov2_vits14", "facebook/dinov2-small", "ed25f3a31f01632728cabb09d1542f84ab7b0056", 88),
        ("dinov2_vitb14", "facebook/dinov2-base", "f9e44c814b77203eaa57a6bdbbd535f21ede1415", 346),
        ("dinov2_vitl14", "facebook/dinov2-large",
         "47b73eefe95e8d44ec3623f8890bd894b6ea2d6c", 1217),
        ("dinov2_vitg14", "facebook/dinov2-giant",
         "611a9d42f2335e0f921f1e313ad3c1b7178d206d", 4546),
    ),
    *_family(
        "DINOv2", "Apache-2.0",
        ("dinov2_vits14_reg", "facebook/dinov2-with-registers-small",
         "0d9846e56b43a21fa46d7f3f5070f0506a5795a9", 88),
        ("dinov2_vitb14_reg", "facebook/dinov2-with-registers-base",
         "a1d738ccfa7ae170945f210395d99dde8adb1805", 346),
        ("dinov2_vitl14_reg", "facebook/dinov2-with-registers-large",
         "e4c89a4e05589de9b3e188688a303d0f3c04d0f3", 1217),
        ("dinov2_vitg14_reg", "facebook/dinov2-with-registers-giant",
         "8d0d49f77fb8b5dd78842496ff14afe7dd4d85cb", 4546),
        prefix=5, note="four registers",
    ),
    *_family(
        "DINOv3", "DINOv3 License",
        ("dinov3_vits16", "facebook/dinov3-vits16-pretrain-lvd1689m",
         "114c1379950215c8b35dfcd4e90a5c251dde0d32", 86),
        ("dinov3_vits16plus", "facebook/dinov3-vits16plus-pretrain-lvd1689m",
         "c93d816fc9e567563bc068f01475bec89cc634a6", 115),
        ("dinov3_vitb16", "facebook/dinov3-vitb16-pretrain-lvd1689m",
         "5931719e67bbdb9737e363e781fb0c67687896bc", 343),
        ("dinov3_vitl16", "facebook/dinov3-vitl16-pretrain-lvd1689m",
         "ea8dc2863c51be0a264bab82070e3e8836b02d51", 1213),
        ("dinov3_vith16plus", "facebook/dinov3-vith16plus-pretrain-lvd1689m",
         "c807c9eeea853df70aec4069e6f56b28ddc82acc", 3362),
        ("dinov3_vit7b16", "facebook/dinov3-vit7b16-pretrain-lvd1689m", None, 26865),
        prefix=5, gated=True, note="four registers",
    ),
    *_family(
        "MAE", "CC-BY-NC-4.0",
        ("mae_vitb16", "facebook/vit-mae-base", "25b184bea5538bf5c4c852c79d221195fdd2778d", 448),
        ("mae_vitl16", "facebook/vit-mae-large", "142cb8c25e1b1bc1769997a919aa1b5a2345a6b8", 1318),
        ("mae_vith14", "facebook/vit-mae-huge", "ecb1fae631feb71318f19f5d6e010cb2d94b70e3", 2630),
        note=_MAE,
    ),
    *_family(
        "MoCo v3", "CC-BY-NC-4.0",
        ("mocov3_vits16", f"{_META_V3}/vit-s-300ep/vit-s-300ep.pth.tar", None, None),
        ("mocov3_vitb16", f"{_META_V3}/vit-b-300ep/vit-b-300ep.pth.tar", None, None),
        note="a checkpoint of the training run, from its authors' server",
    ),
    *_family(
        "DeiT", "Apache-2.0",
        ("deit_vitt16", "facebook/deit-tiny-patch16-224",
         "25f8de47268ea80b6f2227b1c6075084095c8131", 23),
        ("deit_vits16", "facebook/deit-small-patch16-224",
         "676dc637adef06a8c674e0da5e182c94ed766a20", 88),
        ("deit_vitb16", "facebook/deit-base-patch16-224",
         "bbc3e1095b678e390ab0ab785501fa5e4f282699", 346),
        note="trained with labels",
    ),
    *_family(
        "DeiT", "Apache-2.0",
        ("deit_vitt16_distilled", "facebook/deit-tiny-distilled-patch16-224",
         "5fd3806edbee08be6f41560005ec8f0f5085d130", 24),
        ("deit_vits16_distilled", "facebook/deit-small-distilled-patch16-224",
         "ac439546549d7961302aa0cc80187c37ce5e7781", 90),
        ("deit_vitb16_distilled", "facebook/deit-base-distilled-patch16-224",
         "ea2cf46b3d9c8865fe1de652bf26f3de547298dd", 349),
        prefix=2, note="trained with labels; a class and a distillation token",
    ),
    *_family(
        "CLIP", "MIT",
        ("clip_vitb32", "openai/clip-vit-base-patch32",
         "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268", 605),
        ("clip_vitb16", "openai/clip-vit-base-patch16",
         "57c216476eefef5ab752ec549e440a49ae4ae5f3", 599),
        ("clip_vitl14", "openai/clip-vit-large-patch14",
         "32bd64288804d66eefd0ccbe215aa642df71cc41", 1711),
        note=_CLIP,
    ),
    *_family(
        "SigLIP", "Apache-2.0",
        ("siglip_vitb16", "google/siglip-base-patch16-224",
         "7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed", 813),
        ("siglip_vitl16", "google/siglip-large-patch16-256",
         "d0da9f876e7d66b4e250cd2450c3ba2ce735e447", 2609),
        ("siglip_vitso14", "google/siglip-so400m-patch14-384",
         "9fdffc58afc957d1a03a25b10dba0329ab15c2a3", 3512),
        prefix=0, note=_SIGLIP,
    ),
    *_family(
        "SigLIP 2", "Apache-2.0",
        ("siglip2_vitb16", "google/siglip2-base-patch16-224",
         "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2", 1501),
        prefix=0, note=_SIGLIP,
    ),
    *_family(
        "I-JEPA", "CC-BY-NC-4.0",
        ("ijepa_vith14", "facebook/ijepa_vith14_1k",
         "f157467ea509bc356ff9f61fd3c0d840eec5e04e", 2520),
        prefix=0, note="no class token",
    ),
]
# fmt: on

CATALOG: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
"""All entries, by name."""
