import json
from typing import Any

from ci.host.repository import ROOT

PROJECT = ROOT / "ci/rehearsal"


def packages() -> dict[str, dict[str, Any]]:
    locked: dict[str, dict[str, Any]] = json.loads((PROJECT / "package-lock.json").read_bytes())["packages"]
    return {name: package for name, package in locked.items() if name}


def test_npm_packages_come_from_the_public_registry_with_a_digest() -> None:
    assert packages()
    for package in packages().values():
        assert package["resolved"].startswith("https://registry.npmjs.org/")
        assert package["integrity"].startswith("sha512-")


def test_the_emulator_is_pinned_exactly() -> None:
    # The npm package's tag `latest` is another program of the same name.
    wanted = json.loads((PROJECT / "package.json").read_bytes())["dependencies"]
    assert wanted == {"emulate": packages()["node_modules/emulate"]["version"]}
