"""The picture in docs/architecture.md is the rule of which room may import from which."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import groupby
from pathlib import Path

from ci.host.repository import ROOT

PAGE = ROOT / "docs/architecture.md"
ENTRYPOINTS = "entrypoints"  # the modules at the top of ci/

Arrow = tuple[str, str]


def drawn() -> set[Arrow]:
    """The arrows of the picture."""
    (picture,) = re.findall(r"^```mermaid$(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return {
        (source, target)
        for line in re.findall(r"^ +(\w+(?: & \w+)*) --> (\w+(?: & \w+)*)$", picture, re.MULTILINE)
        for source in line[0].split(" & ")
        for target in line[1].split(" & ")
    }


def sources() -> Iterator[Path]:
    yield from (path for path in (ROOT / "ci").rglob("*.py") if "node_modules" not in path.parts)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                pass


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if (ROOT / "ci" / parts[1]).is_dir() else ENTRYPOINTS


def real() -> dict[Arrow, str]:
    """The imports from one room in another, and one place of each."""
    found: dict[Arrow, str] = {}
    for path in sources():
        own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for module in imported(path):
            if module.startswith("ci.") and (target := room(module)) != own:
                found.setdefault((own, target), f"{path.relative_to(ROOT)} imports {module}")
    return found


def below(arrows: set[Arrow]) -> dict[str, set[str]]:
    """For each room, all that can be reached from it; raises CycleError where that includes itself."""
    targets = {source: {target for _, target in group} for source, group in groupby(sorted(arrows), lambda one: one[0])}
    reached: dict[str, set[str]] = {}
    for name in TopologicalSorter(targets).static_order():
        direct = targets.get(name, set())
        reached[name] = direct.union(*(reached[target] for target in direct))
    return reached


def test_a_room_imports_only_from_rooms_that_its_arrows_lead_to() -> None:
    allowed = below(drawn())
    assert [place for (source, target), place in real().items() if target not in allowed.get(source, set())] == []


def test_each_arrow_stands_for_an_import_that_no_other_way_leads_to() -> None:
    arrows = drawn()
    reached = below(arrows)
    idle = arrows - real().keys()
    roundabout = {
        (source, target)
        for source, target in arrows
        for other, middle in arrows
        if other == source and middle != target and target in reached[middle]
    }
    assert (idle, roundabout) == (set(), set())


def test_each_room_is_in_the_picture_and_in_the_table() -> None:
    rooms = {path.name for path in (ROOT / "ci").iterdir() if (path / "__init__.py").is_file()}
    table = set(re.findall(r"^\| `ci/(\w+)/` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name for arrow in drawn() for name in arrow} == rooms | {ENTRYPOINTS}
    assert table == rooms


def test_each_path_that_the_page_names_is_there() -> None:
    named = re.findall(r"`((?:ci|build|docs|tests|manifests|releases)/[\w./-]*)`", PAGE.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []
