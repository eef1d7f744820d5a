"""Pages of the reference: one a room, made from the docstrings of its public names."""

from __future__ import annotations

import griffe

from website.docstrings import modules_of, public_names, rooms
from website.roles import markdown_of

__all__ = ["index_page", "page_name", "pages", "room_page"]

# The order of the pages: first what users call, then along the path of a photograph, then the rest.
_ORDER = [
    "regiontree", "parser", "mask_generator", "clips", "scenes", "settings", "tree", "plot",
    "export", "metrics", "datasets", "experiments", "forest", "collection", "references", "frames",
    "images", "backbones", "spectral", "hierarchy", "refine", "display", "viewer", "bridges",
    "plugins", "engines", "system", "errors", "cli",
]  # fmt: skip

# A module's own text, without what is in the module; its heading is the page's.
_TEXT_ALONE = (
    "members: []",
    "show_root_heading: false",
    "show_root_toc_entry: false",
)


def pages(package: griffe.Module) -> dict[str, str]:
    """Markdown of every page by its name: ``index.md`` and one for each room."""
    found = sorted(rooms(package), key=_place)
    texts = {page_name(room): room_page(room, package) for room in found}
    return {"index.md": index_page(found, package), **texts}


def page_name(room: griffe.Module) -> str:
    """File name of a room's page."""
    return f"{room.name}.md"


def index_page(found: list[griffe.Module], package: griffe.Module) -> str:
    """The first page of the reference: every room with the first sentence of its docstring."""
    rows = [f"| [`{room.path}`]({page_name(room)}) | {_summary(room, package)} |" for room in found]
    lines = [
        "# Python reference",
        "",
        "Each page describes one room of the package: a module, or a folder of modules with one "
        "purpose. A page lists the names in each module's `__all__`. Start with "
        "[`regiontree`](regiontree.md), which holds all that most programs need.",
        "",
        "| room | what is in it |",
        "|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def room_page(room: griffe.Module, package: griffe.Module) -> str:
    """The page of a room: a table of its names, then each module with its names in full."""
    inside = [room] if room is package else list(modules_of(room))
    inside = [module for module in inside if public_names(module)]
    offered = {member.canonical_path.rpartition(".")[0] for member in _offered(room)}
    inside.sort(key=lambda module: (module is not room, module.path not in offered))
    lines = [f"# {room.path} {{ #{room.path} }}", "", _describe(room.path, *_TEXT_ALONE), ""]
    lines += ["| name | what it is |", "|---|---|"]
    rows = [_row(module, name, package) for module in inside for name in public_names(module)]
    lines += list(dict.fromkeys(rows))  # a room may offer what one of its modules defines
    for module in inside:
        own = [name for name in public_names(module) if not _is_elsewhere(module, name)]
        if module is not room:
            title = module.path.removeprefix(f"{package.name}.")
            lines += ["", f"## {title} {{ #{module.path} }}", ""]
            lines.append(_describe(module.path, *_TEXT_ALONE))
        lines += ["", *(_describe(f"{module.path}.{name}", "heading_level: 3") for name in own)]
    return "\n".join(lines) + "\n"


def _offered(room: griffe.Module) -> list[griffe.Object]:
    """What the names of the room itself stand for: the modules that define it come first."""
    members = [room.members[name] for name in public_names(room)]
    return [member.final_target if member.is_alias else member for member in members]


def _describe(path: str, *options: str) -> str:
    """A directive of mkdocstrings that shows what a docstring says."""
    return "\n".join([f"::: {path}", "    options:", *(f"      {line}" for line in options), ""])


def _row(module: griffe.Module, name: str, package: griffe.Module) -> str:
    member = module.members[name]
    if member.is_alias:
        member = member.final_target
    target = member.canonical_path if member.docstring else module.path
    return f"| [`{name}`][{target}] | {_summary(member, package)} |"


def _is_elsewhere(module: griffe.Module, name: str) -> bool:
    """Whether another module defines the name, or nothing describes it."""
    return module.members[name].is_alias or not module.members[name].docstring


def _summary(found: griffe.Object, package: griffe.Module) -> str:
    """The first paragraph of a docstring, on one line."""
    if not found.docstring:
        return ""
    first = found.docstring.value.strip().partition("\n\n")[0]
    return markdown_of(" ".join(first.split()), found, package).replace("|", "\\|")


def _place(room: griffe.Module) -> tuple[int, str]:
    known = room.name in _ORDER
    return (_ORDER.index(room.name) if known else len(_ORDER), room.name)
