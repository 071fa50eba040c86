"""Each job installs what its programs import, and no more: the locks, the workflows and the imports of ci/ agree."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ci.host.repository import ROOT
from tests.support.locks import LOCKS

# The locks by what scripts/setup.sh calls them.
PARTS = dict(zip(("python", "rehearsal", "lint"), LOCKS, strict=True))
# Jobs that prepare a runner ask for `--image`, which has the packages of `--python`.
ACTION = re.compile(r"\./\.github/actions/prepare-(python|runner)")
PROGRAM = re.compile(r"python -m (ci[.\w]*)")


def workflow_jobs() -> Iterator[tuple[str, str, list[str]]]:
    """Each job that makes an environment and runs programs of ours in it: its name, its part, the programs."""
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        for name, job in YAML(typ="safe").load(path)["jobs"].items():
            steps = job.get("steps", [])
            programs = PROGRAM.findall("\n".join(step.get("run", "") for step in steps))
            parts = [step.get("with", {}).get("part", "python") for step in steps if ACTION.match(step.get("uses", ""))]
            if programs:
                yield f"{path.stem}/{name}", *parts, programs


@cache
def locked(lock: str) -> dict[str, str]:
    """The version of each distribution in a lock."""
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ")[0].split("==") for line in lines if "==" in line.split(" ")[0])


def source(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)


@cache
def imported(path: Path) -> frozenset[str]:
    """All that a file names in imports. What comes `from` a package may be a module of it, so both are named."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


@cache
def installed() -> Mapping[str, list[str]]:
    """The distributions that a name may be imported from; to read them all takes a second."""
    return packages_distributions()


def owners(name: str) -> list[str]:
    """The distributions that an imported name is of: those in a lock, where one is. Setuptools has `debian` too."""
    found = [re.sub(r"[-_.]+", "-", owner).lower() for owner in installed()[name]]
    return [owner for owner in found if owner in locked(LOCKS[-1])] or found


def distributions(program: str) -> set[str]:
    """The distributions that a program imports, whichever of our modules names them."""
    seen: set[str] = set()
    left = [program]
    while left:
        module = left.pop()
        if module not in seen and (path := source(module)) is not None:
            left += imported(path)
        seen.add(module)
    foreign = {module.partition(".")[0] for module in seen} - sys.stdlib_module_names - {"ci"}
    return {owner for module in foreign for owner in owners(module)}


@pytest.mark.parametrize(
    ("part", "programs"), [job[1:] for job in workflow_jobs()], ids=[job[0] for job in workflow_jobs()]
)
def test_a_job_installs_what_its_programs_import_and_no_longer_lock(part: str, programs: list[str]) -> None:
    needed = set().union(*(distributions(program) for program in programs))
    assert part == next(name for name, lock in PARTS.items() if needed <= locked(lock).keys())


def test_a_person_can_run_all_programs_without_the_tests() -> None:
    folder = ROOT / "ci"
    paths = [path for path in folder.rglob("*.py") if "node_modules" not in path.parts]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    needed = set().union(*(distributions(module) for module in modules))
    assert needed <= locked(PARTS["rehearsal"]).keys()


def test_each_lock_is_part_of_the_next_in_the_same_versions() -> None:
    for shorter, longer in pairwise(locked(lock) for lock in LOCKS):
        assert shorter
        assert shorter.items() < longer.items()
