"""A stand-in for Ubuntu 22.04's cloud image, stricter than it: Debian 11, which is older, with what Ubuntu has besides,
and then with everything wrong that hostile.sh can think of.

What is known of the real one, and from where, is in packages.toml and customize.sh.
"""

import base64
import os
import re
import shutil
import tarfile
import tomllib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from ci.host.accelerator import Acceleration
from ci.host.process import Argument, run
from ci.host.progress import Reporter
from ci.host.repository import BUILD
from ci.image.base import bootstrap
from ci.image.base.base_image import VerifiedBase
from ci.image.definition import load_definition

HERE = Path(__file__).parent
IMAGE = "bullseye"
CUSTOMIZE = "customize.sh"
HOSTILE = HERE.parent / "guest/hostile.sh"
EPOCH = 1700000000  # of all files: the same packages every time, and with them the same base
# What in Ubuntu's image no metapackage asks for.
OTHER_PACKAGES = ("networkd-dispatcher",)

Facts = Mapping[str, Any]

_NAME = re.compile(r"(?:^|,)\s*([a-z0-9][a-z0-9+.-]*)")


def make_standin(cache: Path, acceleration: Acceleration, reporter: Reporter) -> VerifiedBase:
    """The base image, from `cache` where it is there already; the same for all tests."""
    debian = load_definition(IMAGE, BUILD / "images").base.bootstrap
    assert debian is not None
    packages = tuple(sorted({*debian.packages, *OTHER_PACKAGES, *debian_packages(read_facts())}))
    mmdebstrap_argv = bootstrap.mmdebstrap_argv
    with TemporaryDirectory(prefix="toolsmith-standin-") as folder:
        recipe = Path(folder)
        recipe.chmod(0o755)  # as another user than root, mmdebstrap has subordinate users run the hook
        hook = write_recipe(recipe)

        def with_hook(*arguments: Any) -> list[str]:  # noqa: ANN401 - as they are
            program, *options = mmdebstrap_argv(*arguments)
            return [program, f"--customize-hook={hook}", *options]

        # In the chroot, which this machine runs at its full speed, and not in the appliance.
        with mock.patch.object(bootstrap, "mmdebstrap_argv", with_hook):
            return bootstrap.bootstrap_base(
                debian.model_copy(update={"packages": packages}),
                recipe=recipe,
                cache=cache,
                acceleration=acceleration,
                reporter=reporter,
            )


def read_facts() -> Facts:
    """What is known of Ubuntu's packages, by name."""
    return tomllib.loads((HERE / "packages.toml").read_text(encoding="utf-8"))


def debian_packages(facts: Facts) -> set[str]:
    """What Ubuntu's packages need or recommend, and Debian has."""
    relations = ",".join(one.get(field, "") for one in facts.values() for field in ("depends", "recommends"))
    return set(_NAME.findall(relations)) - facts.keys()


def write_recipe(recipe: Path) -> Path:
    """How to make a disk of the packages: as Debian's, but spoilt; returns the hook that adds Ubuntu's before."""
    shutil.copy(BUILD / "bootstrap/layout.sfdisk", recipe)
    finish = [(BUILD / "bootstrap/finish.sh").read_text(), HOSTILE.read_text()]
    (recipe / "finish.sh").write_text("\n".join(finish))
    packed = base64.encodebytes(packages_tar()).decode("ascii")
    hook = recipe / "hook.sh"
    hook.write_text(
        "#!/bin/sh\nset -eu\n"
        'mkdir "$1/standin"\n'
        f"base64 --decode <<'FILES' | tar --extract --directory \"$1/standin\"\n{packed}FILES\n"
        'chroot "$1" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 sh -eu /standin/customize.sh\n'
    )
    hook.chmod(0o755)
    return hook


def packages_tar() -> bytes:
    """All packages and the script that installs them, as files of one tar archive."""
    files = {CUSTOMIZE: (HERE / CUSTOMIZE).read_bytes()}
    with TemporaryDirectory(prefix="toolsmith-standin-") as folder:
        for name, facts in sorted(read_facts().items()):
            files[f"{name}.deb"] = make_package(Path(folder), name, facts).read_bytes()
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    return buffer.getvalue()


def make_package(folder: Path, name: str, facts: Facts, compression: str = "gzip") -> Path:
    """A package file.

    Ubuntu's are packed with zstd, which Debian 11 does not unpack: test_packages.py has one of those.
    """
    tree = folder / name
    files = package_files(name, facts)
    for path, content in files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content.strip("\n") + "\n")
        file.chmod(0o755 if path == "DEBIAN/postinst" else 0o644)
    for entry in [*tree.rglob("*"), tree]:
        os.utime(entry, (EPOCH, EPOCH))
    target = folder / f"{name}.deb"
    argv: list[Argument] = ["dpkg-deb", f"-Z{compression}", "--root-owner-group", "--build", tree, target]
    run(argv, env={"SOURCE_DATE_EPOCH": str(EPOCH)}, timeout=60)
    return target


def package_files(name: str, facts: Facts) -> dict[str, str]:
    """What is in a package, and in its control archive, by path."""
    services, timers, conffiles = (facts.get(key, {}) for key in ("services", "timers", "conffiles"))
    relations = {"Depends": facts.get("depends"), "Recommends": facts.get("recommends")}
    control = [
        f"Package: {name}", f"Version: {facts['version']}", "Architecture: all",
        f"Section: {facts.get('section', 'admin')}", "Maintainer: nobody <nobody@example.org>",
        *(f"{field}: {value}" for field, value in relations.items() if value), "Description: stands in for Ubuntu's",
    ]  # fmt: skip
    files = {"DEBIAN/control": "\n".join(control)}
    units = {f"{unit}.service": service(settings, facts) for unit, settings in services.items()}
    for unit in timers:
        units |= {f"{unit}.timer": timer(), f"{unit}.service": service("", facts)}
    enabled = [*(f"{unit}.service" for unit in services), *(f"{unit}.timer" for unit in timers)]
    files |= {f"lib/systemd/system/{unit}": text for unit, text in units.items()}
    files |= {path.strip("/"): text for path, text in conffiles.items()}
    if kept := [path for path in conffiles if path.startswith("/etc/")]:
        files["DEBIAN/conffiles"] = "\n".join(kept)
    if enabled:
        lines = [f"deb-systemd-helper enable {unit}" for unit in enabled]
        files["DEBIAN/postinst"] = "\n".join(["#!/bin/sh", "set -e", '[ "$1" = configure ] || exit 0', *lines])
    return files


def service(settings: str, facts: Facts) -> str:
    """A unit that is started at every start of the machine."""
    program = facts.get("program", "true")
    return (
        f"[Unit]\nDescription=Stands in for Ubuntu's\n{settings}\n"
        f"[Service]\nType=oneshot\nExecStart=/bin/{program}\n[Install]\nWantedBy=multi-user.target"
    )


def timer() -> str:
    """A unit that is active as long as the machine runs."""
    return (
        "[Unit]\nDescription=Stands in for Ubuntu's\n[Timer]\nOnCalendar=daily\nPersistent=true\n"
        "[Install]\nWantedBy=timers.target"
    )
