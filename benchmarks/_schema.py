"""The tables of results: which columns each has, how they are written to CSV, how they are read.

Benchmarks write these tables and ``tables.py`` makes the docs' Markdown from them, both by the same
schema, so neither can drift from the other. Only the standard library is needed here.

A file begins with comment lines, ``# key: value``: the `table` whose columns it has, the `command`
that writes it, the machine it ran on, and notes. Then come the header and the rows. An empty cell
was not measured, or its figure was not kept.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SCHEMAS", "Column", "Results", "read_results", "schema", "write_results"]

# Unit at the end of a column's name -> how it is told in a heading, and how numbers are written.
UNITS = {
    "percent": ("%", ".1f"),
    "seconds": ("s", ".2f"),
    "milliseconds": ("ms", ".1f"),
    "minutes": ("min", ".1f"),
    "megabytes": ("MB", ".0f"),
    "gigabytes": ("GB", ".2f"),
    "kilobytes": ("KB", ".1f"),
    "microseconds": ("µs", ".0f"),
    "pixels": ("pixels", ""),
    "ratio": ("", ".2f"),
}
CAPITALS = {"nm": "NM", "nh": "NH", "f2": "F2", "f5": "F5", "ods": "ODS", "ois": "OIS",
            "miou": "mIoU", "pacc": "pAcc", "macc": "mAcc", "fiou": "fIoU", "iou": "IoU",
            "ari": "ARI", "ap": "AP", "jpeg": "JPEG", "cpu": "CPU", "gpu": "GPU", "cuda": "CUDA",
            "crf": "CRF"}  # fmt: skip

BUDGETS = ("5", "10", "24", "50", "100", "200", "all")
_CURVE = [f"{what}_{budget}{unit}" for budget in BUDGETS
          for what, unit in (("score", "_percent"), ("nodes", ":.0f"))]  # fmt: skip
_INTERVAL = ["mean_percent", "low_percent", "high_percent"]
_BORDERS = ["nm_percent", "nh_percent", "nm_all_nodes_percent", "covering_percent",
            "f2_percent", "f5_percent", "best_f2_percent", "best_f5_percent"]  # fmt: skip
_DETAIL = ["nm_percent", "nh_percent", "nm_all_nodes_percent", "nh_all_nodes_percent", "f2_percent"]

# Name of a table -> its columns: NAME, or NAME:FORM where the unit's form does not fit.
SCHEMAS: dict[str, Sequence[str]] = {
    # discover.py
    "discover": [
        "regions:.0f", "numbers_each:.0f", "time_seconds", "highest_memory_megabytes",
        "on_disk_megabytes",
    ],
    # discover_workers.py
    "discover-workers": ["trees:.0f", "workers", "time_seconds:.1f", "time_ratio"],
    # page.py
    "page": [
        "photographs:.0f", "discover_seconds:.0f", "rows_seconds", "pictures_seconds",
        "pictures_again_seconds", "regions_seconds", "all_seconds", "map_seconds",
        "photograph_seconds", "like_seconds", "frame_milliseconds", "slow_frame_milliseconds",
        "memory_megabytes",
    ],
    # shots.py
    "shots": [
        "film", "every", "steps:.0f", "extreme_step:.3f", "extreme_ratio:.2f", "missed", "false",
    ],
    # frames.py
    "frames": [
        "codec", "rows:.0f", "frames:.0f", "read_per_second:.0f", "decoded_per_second:.0f",
        "grown_megabytes:.1f",
    ],
    # search.py
    "search": [
        "rows:.0f", "numbers_each:.0f", "search", "query_milliseconds", "memory_megabytes",
        "recall_percent", "build_seconds", "files_megabytes",
    ],
    # categories.py
    "categories": [
        "set", "way", "photographs:.0f", "classes:.0f", "accuracy_percent", "miou_percent",
        "right_20_percent", "right_50_percent", "right_100_percent", "area_percent",
    ],
    # recipes.py
    "recipes": ["recipe", "way", "photographs:.0f", "things:.0f", "measure", "value_percent"],
    # results.py
    "results": [
        "preset", "protocol", "data_set", "images", "nodes:.1f", "leaves:.1f",
        "nm_finest_percent", "nm_percent", "nh_percent",
        "miou_percent", "pacc_percent", "macc_percent", "fiou_percent",
        "nodes_within_24:.1f", "nm_within_24_nodes_percent", "nh_within_24_nodes_percent",
        "time_seconds",
    ],
    "results-covering": [
        "preset", "data_set", "images", "nodes:.1f", "leaves:.1f",
        "ods:.3f", "ois:.3f", "best:.3f", "time_seconds",
    ],
    "results-golden": [
        "trees", "nodes:.1f", "leaves:.1f", "nm_grid_percent", "nm_full_size_percent",
        "miou_percent", "pacc_percent",
    ],
    # study.py; features: the preset whose features the trees are made of
    "study": [
        "features", "protocol", "measure", "method", *_CURVE, "area_percent", "time_seconds",
    ],
    "study-differences": ["features", "protocol", "measure", "method", "figure", *_INTERVAL],
    "study-chosen": ["features", "method", "choice", "nm_percent", "nh_percent", "nodes:.0f"],
    "study-chosen-differences": ["features", "method", "choice", "measure", *_INTERVAL],
    "study-sets": ["features", "data_set", "images", "method", "nm_percent", "nh_percent"],
    "study-settings": [
        "features", "setting", "nm_area_percent", *_INTERVAL, "nh_area_percent", "time_seconds",
    ],
    "study-left-out": ["features", "left_out", "chosen", "score_percent", "default_score_percent"],
    "study-covering": [
        "features", "method", "images", "ods:.3f", "ois:.3f", "best:.3f",
        "ods_regions:.0f", "nodes:.0f", "time_seconds",
    ],
    "study-golden": ["method", *_CURVE, "area_percent"],
    # salient.py
    "salient": ["preset", "choice", "nodes", "images", "nm_percent", "nh_percent"],
    # refine.py
    "refine": ["preset", "images", "way", *_BORDERS],
    "refine-sets": ["preset", "data_set", "images", "way", *_BORDERS],
    "refine-cost": [
        "way", "leaves", "time_seconds:.3f", "least_time_seconds:.3f", "most_time_seconds:.3f",
        "memory_megabytes",
    ],
    # exchange.py
    "exchange": [
        "preset", "way", "images", "time_milliseconds", "moved_percent:.2f",
        "unlike_lattice_percent:.2f", "unlike_exact_percent:.2f",
    ],
    # pieces.py
    "pieces": [
        "photograph", "nodes:.0f", "nodes_in_several_places:.0f", "leaves_in_several_places:.0f",
        "pieces:.0f", "nodes_of_the_tree_of_pieces:.0f", "regions:.0f",
        "regions_of_the_tree_of_pieces:.0f", "node_pieces_milliseconds", "pieces_milliseconds",
        "one_by_one_milliseconds:.0f",
    ],
    "pieces-scores": [
        "of", "images",
        *(f"{score}_{budget}_percent" for budget in ("10", "24", "50", "100", "all")
          for score in ("nm", "nh")),
    ],
    # nodata.py
    "nodata": ["gap", "colours", "images", "nm_percent", "nh_percent"],
    # clips.py
    "clips": [
        "clip", "preset", "way", "j_percent", "j_all_nodes_percent", "j_recall_percent",
        "j_decay_percent", "f_percent", "nm_percent", "nm_all_nodes_percent", "nh_percent",
        "switches_percent", "flicker_percent:.2f", "boiling_percent", "static_percent",
    ],
    "clips-classes": ["clip", "preset", "way", "class", "iou_percent"],
    # python -m fuzz
    "fuzz": ["target", "cases", "time_seconds:.0f", "cpu_time_seconds:.0f", "faults"],
    # crf.py
    "crf": [
        "size_pixels", "labels", "way", "cpu_time_seconds:.1f",
        "time_ratio", "worst_time_ratio", "cpu_time_ratio", "worst_cpu_time_ratio",
        "memory_ratio", "memory_megabytes", "memory_bound_megabytes",
        "equal_labels_percent:.2f", "worst_equal_labels_percent:.2f",
    ],
    # tiles.py
    "tiles-detail": ["features", "parts", *_DETAIL],
    "tiles-detail-sets": ["features", "parts", "data_set", "images", *_DETAIL],
    "tiles-seams": [
        "tiles", "border_at_tile_ends_ratio", "changed_by_moved_tiles_percent",
        "changed_by_seed_percent",
    ],
    "tiles-cost": [
        "photograph_pixels", "patches", "parts", "tiles", "network_minutes",
        "blending_seconds:.0f", "blending_memory_gigabytes", "tree_seconds:.0f",
        "tree_memory_gigabytes",
    ],
    "tiles-command": ["photograph_pixels", "options", "tiles", "time_seconds:.0f",
                      "memory_gigabytes:.2f"],
    # scenes.py
    "scenes": [
        "scene_pixels", "with_data_percent:.0f", "windows:.0f", "leaves:.0f",
        "time_seconds:.0f", "memory_megabytes", "output_megabytes",
    ],
    "scenes-agreement": [
        "photograph", "photograph_pixels", "windows:.0f", "patches_of_group:.0f", "compared_with",
        "regions:.0f", "nm_percent", "nm_back_percent", "changed_percent",
    ],
    "scenes-seams": [
        "photograph", "patches_of_group:.0f", "regions:.0f", "border_at_window_ends_ratio",
        "border_at_window_ends_without_windows_ratio",
    ],
    # tree_cost.py
    "tree-cost": [
        "preset", "precision", "patches", "refined", "median_share_percent", "most_share_percent",
    ],
    "tree-cost-photos": [
        "preset", "photograph", "forward_seconds", "tree_milliseconds", "tree_share_percent",
        "refined_milliseconds", "refined_share_percent", "leaves",
    ],
    "tree-cost-stages": [
        "preset", "stage", "time_milliseconds", "most_time_milliseconds", "share_percent:.0f",
    ],
    # versus.py
    "versus": ["way", "time_seconds:.3f", "time_ratio:.1f", "memory_megabytes"],
    "versus-agreement": [
        "way", "reference", *(f"cosine_{i + 1}:.4f" for i in range(10)), "least_of_space:.4f",
    ],
    "versus-parts": [
        "way", "parts", "parts_of_one_patch", "largest_part", "mean_normalised_cut:.4f",
        "scatter_within_parts:.3f",
    ],
    # scaling.py
    "scaling": [
        "preset", "side_patches", "patches", "time_seconds", "time_per_patch_microseconds",
        "time_ratio", "memory_megabytes", "memory_per_patch_kilobytes", "full_table_megabytes",
        "leaves", "photograph_pixels", "refined_time_seconds", "refined_memory_megabytes",
    ],
    "scaling-stages": [
        "preset", "side_patches", "refined", "stage", "time_seconds", "share_percent:.0f",
        "memory_megabytes",
    ],
    "scaling-exponents": ["preset", "what", "all_sizes:.2f", "from_60_x_60:.2f"],
    # cost.py
    "cost-parts": [
        "preset", "precision", "photographs", "megapixels:.2f", "network_gigaoperations:.0f",
        "decoding_seconds:.3f", "network_seconds:.3f", "tree_seconds:.3f", "borders_seconds:.3f",
        "writing_seconds:.3f", "all_seconds:.2f", "tree_megabytes:.2f",
    ],
    "cost": [
        "preset", "machine", "time_is", "core_hours:.0f", "gpu_hours:.0f", "days:.1f", "price:.0f",
        "terabytes:.2f",
    ],
    # plan.py; factor: what one busy core of all does, beside one core alone
    "plan": [
        "preset", "format", "photographs", "measured_photographs", "workers",
        "other_programs_percent:.0f", "factor:.2f", "plan_seconds:.0f", "foretold_seconds:.0f",
        "actual_seconds:.0f", "cores_at_work_percent:.0f", "foretold_to_actual_ratio",
    ],
    # the small ones
    "max-distance": [
        "size_pixels", "photographs", "patches", "found", "largest_shortfall:.2e",
        "largest_shortfall_percent:.4f", "search_milliseconds", "exact_milliseconds",
        "exact_to_search_ratio:.1f",
    ],
    "libraries": [
        "what", "library", "ours_milliseconds", "library_milliseconds", "library_to_ours_ratio",
        "equal_percent:.2f",
    ],
    # slider.py: a new cut by the slider, without a window
    "slider": [
        "megapixels:.1f", "leaves", "bits", "table_milliseconds", "lookup_milliseconds",
        "blocks_milliseconds", "take_milliseconds", "take_to_lookup_ratio", "rows_milliseconds",
    ],
    # clip_file.py
    "clip-file-levels": [
        "bits", "level", "frame_kilobytes:.1f", "pack_milliseconds:.1f", "unpack_milliseconds:.1f",
    ],
    "clip-file": [
        "frame", "frames", "bytes_per_frame:.0f", "write_milliseconds:.2f", "load_milliseconds:.1f",
        "frame_milliseconds:.2f", "frame_by_zip_milliseconds:.1f",
    ],
    "forward": ["way", "time_per_image_seconds", "speed_ratio"],
    "forward-agreement": [
        "compared", "patches", "least_cosine:.5f", "mean_cosine:.5f", "above_0.999_percent:.3f",
    ],
    "presets": ["photograph", "preset", "time_ratio"],
    # descriptors.py: without and with them; seconds of the processor
    "descriptors": [
        "preset", "photographs", "network_without_seconds:.3f", "network_with_seconds:.3f",
        "network_time_ratio:.3f", "file_without_kilobytes:.0f", "file_with_kilobytes:.0f",
        "file_size_ratio",
    ],
    # kernels.py
    "kernels": [
        "preset", "kernels", "photographs", "mean_cosine:.7f", "least_cosine:.5f",
        "ari_8:.3f", "ari_24:.3f", "least_ari_24:.3f", "ari_24_of_features:.3f",
        "least_ari_24_of_features:.3f", "time_ratio",
    ],
    # runtimes.py
    "runtimes": [
        "way", "size_pixels", "threads", "time_seconds", "time_ratio", "cpu_time_seconds",
        "cpu_time_ratio", "load_seconds", "memory_megabytes", "mean_cosine:.5f",
        "least_cosine:.4f",
    ],
    "runtimes-scores": [
        "way", "images", "nm_percent", "nh_percent", "ari_24:.3f", "least_ari_24:.3f",
    ],
    # recall.py
    "recall": [
        "data_set", "tree", "masks", "kind", "images", "segments", "ar_10_percent",
        "ar_100_percent", "ar_1000_percent", "small_percent", "medium_percent", "large_percent",
        "low_percent", "high_percent",
    ],
    # second_look.py
    "second-look": [
        "way", "looks", "kind", "images", "segments", "ar_1000_percent", "small_percent",
        "medium_percent", "large_percent",
    ],
    # predicted_iou.py
    "predicted-iou": [
        "tree", "data_set", "coefficients", "images", "predicted_percent", "measured_percent",
        "top_predicted_percent", "top_measured_percent", "r2:.2f", "rank_correlation:.2f",
        "ar_10_percent", "ar_100_percent",
    ],
    # builders.py
    "builders": ["preset", "data_set", "images", "tree", *_BORDERS],
    # borders.py
    "borders": [
        "preset", "images", "tree", "scale",
        "covering_ods_percent", "covering_ois_percent", "covering_best_percent",
        "covering_scale:.3g",
        "boundary_ods_percent", "boundary_ois_percent", "boundary_ap_percent", "boundary_scale:.3g",
        "objects_ods_percent", "objects_ois_percent", "objects_scale:.3g",
        "strict_objects_ods_percent", "strict_objects_ois_percent", "score_seconds",
    ],
    # one_threshold.py
    "one-threshold": [
        "photographs_of", "images", "tree", "threshold", "measure", "one_for_all_percent",
        "value:.3g", "one_for_each_set_percent", "one_for_each_photograph_percent",
    ],
    # positions.py
    "positions": [
        "facet", "empty_image", "centred", "rank", "images", "spread_off_percent",
        "nm_percent", "nh_percent", "nm_gain_percent:+.1f", "low_percent:+.1f", "high_percent:+.1f",
        "worst_set", "worst_gain_percent:+.1f", "covering_percent", "photographs",
        "cropped_8:.3f", "cropped_24:.3f", "mirrored_8:.3f", "mirrored_24:.3f",
        "steadier:+.3f", "steadier_low:+.3f", "steadier_high:+.3f",
    ],
    # steady.py
    "steady": [
        "preset", "views", "photographs", "regions", "jpeg_75:.3f", "cropped:.3f", "scaled:.3f",
        "mirrored:.3f", "darker:.3f", "mean:.3f", "time_seconds", "cpu_time_seconds",
    ],
    "steady-trees": [
        "preset", "tree", "photographs", "regions", "seed:.3f", "precision:.3f", "jpeg_75:.3f",
        "cropped:.3f", "scaled:.3f", "mirrored:.3f", "darker:.3f", "mean:.3f",
        "tree_milliseconds:.0f",
    ],
    # poles.py
    "poles": ["thing", "width_pixels", "springs", "drawings", "median_iou:.2f", "least_iou:.2f"],
    "stability": [
        "tree", "photographs", "draws", "nodes_of", "nodes", "mean_iou:.3f", "back_percent:.1f",
        "spearman_stability:.3f", "spearman_persistence:.3f", "spearman_area:.3f",
        "auc_stability:.3f", "auc_persistence:.3f", "auc_area:.3f", "tree_milliseconds:.0f",
        "stability_milliseconds:.0f",
    ],
    "backbones": [
        "network", "size_pixels", "way", "parameters_millions:.0f", "patches",
        "images_per_second:.2f", "time_ratio", "memory_megabytes", "cuda_memory_megabytes",
    ],
    "startup": ["step", "process_seconds", "less_python_seconds", "call_seconds"],
    # checkouts.py
    "checkouts": [
        "preset", "way", "before_milliseconds:.0f", "after_milliseconds:.0f", "time_ratio",
        "most_time_ratio", "memory_before_megabytes", "memory_after_megabytes",
    ],
    "checkouts-segment": [
        "preset_before", "preset", "photographs", "before_images_per_minute:.0f",
        "after_images_per_minute:.0f", "speed_ratio",
    ],
    "checkouts-scores": ["preset", "data_set", "images", "way", *_BORDERS],
    "sizes": [
        "photographs", "core_hours:.1f", "days_on_64_cores:.1f", "photographs_gigabytes:.1f",
        "trees_gigabytes:.1f", "trees_without_embeddings_gigabytes:.1f", "shards:.0f",
        "index_gigabytes:.3f", "listing_minutes:.1f",
    ],
    "scale": [
        "engine", "photographs", "time_seconds", "images_per_minute:.0f", "memory_megabytes",
        "again_seconds", "again_megabytes", "bytes_per_photograph:.0f",
    ],
    "scale-course": [
        "engine", "quarter", "rows", "images_per_minute:.0f", "memory_megabytes",
    ],
    "startup-first": ["part", "first_seconds", "later_seconds"],
    "many": [
        "trees", "workers", "images_per_minute:.0f", "network_busy_percent:.0f",
        "cores_busy_percent:.0f", "limited_by",
    ],
    "many-presets": ["preset", "workers", "images_per_minute:.1f", "speed_ratio"],
    # store.py
    "store": ["codec", "size_kilobytes", "encode_milliseconds:.2f", "decode_milliseconds:.2f"],
    "store-embeddings": [
        "encoding", "size_kilobytes:.0f", "write_milliseconds", "read_group_milliseconds",
    ],
    "store-size": ["trees", "images", "row_kilobytes", "file_kilobytes"],
    "store-rows": [
        "rows", "shards", "size_megabytes", "index_megabytes", "make_index_seconds",
        "open_milliseconds:.0f", "look_up_milliseconds", "look_up_95_milliseconds",
        "memory_megabytes", "known_twice_as_many_seconds",
    ],
    "store-compaction": [
        "rows", "parts", "size_megabytes", "shards", "time_seconds", "memory_megabytes",
    ],
    "threads": ["way", "alone_milliseconds:.0f", "busy_milliseconds:.0f", "busy_to_alone_ratio"],
    "metrics": [
        "size_pixels", "time_milliseconds:.0f", "memory_megabytes", "masks_time_milliseconds:.0f",
        "masks_memory_megabytes", "masks_to_ours_ratio:.0f", "score_difference:.0e",
    ],
    "metrics-covering": ["leaves", "annotators", "time_milliseconds:.0f", "memory_megabytes"],
    # listing.py
    "listing": [
        "source", "photographs", "time_seconds", "cpu_time_seconds",
        "cpu_time_per_photograph_microseconds:.1f", "memory_megabytes",
    ],
    "viewer": [
        "side_pixels", "nodes", "page_megabytes:.2f",
        "load_milliseconds:.0f", "load_95_milliseconds:.0f",
        "frame_milliseconds", "frame_95_milliseconds",
        "interval_milliseconds", "interval_95_milliseconds",
    ],
    # What was tried once while a decision was made; no script repeats all of it.
    "trial": [
        "on", "trial", "nm_percent", "nh_percent", "nm_all_nodes_percent", "nh_all_nodes_percent",
        "nm_area_percent", "covering_percent", "f2_percent", "cut_iou_percent", "regions:.0f",
        "ods:.3f", "best:.3f", "nodes:.0f",
    ],
    "trial-kmeans": ["trial", "inertia:.1f", "iterations:.1f", "time_milliseconds:.0f"],
    "trial-specks": ["on", "trial", "specks:.1f"],
    "trial-equal-labels": ["trial", "equal_labels_percent"],
    "trial-nodes": ["trial", *(f"nodes_of_image_{i + 1}" for i in range(5))],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        As in the CSV's header: plain words, the unit last (``time_seconds``).
    form : str
        How numbers are written: a format specification, or empty for whatever Python writes.
    """

    name: str
    form: str

    @property
    def title(self) -> str:
        """As a heading: ``time, s``."""
        words = self.name.split("_")
        unit = ""
        if words[-1] in UNITS:
            unit = UNITS[words.pop()][0]
        title = " ".join(CAPITALS.get(word, word) for word in words)
        return f"{title}, {unit}" if unit and unit != "%" else title or unit

    def cell(self, value: object) -> str:
        """A value as it stands in the CSV. None and NaN are empty; text stays as it is."""
        if value is None or value != value:
            return ""
        return value if isinstance(value, str) else format(value, self.form)


def schema(table: str) -> tuple[Column, ...]:
    """The columns of a table; a KeyError if there is no such table."""
    found = []
    for spec in SCHEMAS[table]:
        name, colon, form = spec.partition(":")
        unit = name.rsplit("_", 1)[-1]
        found.append(Column(name, form if colon else UNITS.get(unit, ("", ""))[1]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Results:
    """A file of results.

    Attributes
    ----------
    table : str
        Which of :data:`SCHEMAS` it has.
    about : mapping
        The other comment lines: `command`, `machine`, `note`.
    rows : list of mapping
        Column name to cell, as text.
    """

    table: str
    about: Mapping[str, str]
    rows: list[dict[str, str]]


def write_results(
    path: Path, table: str, rows: Iterable[Sequence[object]], about: Mapping[str, str]
) -> None:
    """Write rows, one value for each column of the table's schema, below comment lines `about`."""
    columns = schema(table)
    text = io.StringIO()
    for key, value in {"table": table, **about}.items():
        text.write(f"# {key}: {value}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow(column.cell(value) for column, value in zip(columns, row, strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.getvalue(), encoding="utf-8")


def read_results(path: Path) -> Results:
    """A file of results; a ValueError that names it if it does not have its table's columns."""
    lines = path.read_text(encoding="utf-8").splitlines()
    about: dict[str, str] = {}
    while lines and lines[0].startswith("# "):
        key, colon, value = lines.pop(0)[2:].partition(": ")
        if not colon:
            raise ValueError(f"{path.name}: a comment line must be '# key: value'")
        about[key] = value
    table = about.pop("table", "")
    if table not in SCHEMAS:
        raise ValueError(f"{path.name}: '# table: {table}' names no table of benchmarks/_schema.py")
    if not about.get("command"):
        raise ValueError(f"{path.name}: no line '# command: ...' says what writes it")
    header, *rows = csv.reader(lines)
    names = [column.name for column in schema(table)]
    if header != names:
        raise ValueError(f"{path.name}: has columns {header}, table {table} has {names}")
    for at, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise ValueError(f"{path.name}: row {at} has {len(row)} cells for {len(names)} columns")
    return Results(table, about, [dict(zip(names, row, strict=True)) for row in rows])
