from pathlib import Path

import pytest

from ci.host.errors import BaseImageError
from ci.image.definition import Packages
from ci.image.packages.choose import BaseFacts
from ci.image.packages.dpkg import DIVERSIONS, STATUS
from ci.image.packages.requirements import Requirement

SYSTEMD = Requirement(package="systemd", programs=("systemctl",), needs={"units": "1"})
STATES = "Package: systemd\nStatus: install ok {}\nVersion: 252\n"


@pytest.fixture
def base(tmp_path: Path) -> BaseFacts:
    return BaseFacts(tmp_path, "a" * 64)


def write(base: BaseFacts, path: str, text: str) -> None:
    file = base.path / path.strip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_base_that_cannot_be_built_upon_is_refused_before_anything_is_fetched(base: BaseFacts) -> None:
    write(base, STATUS, STATES.format("unpacked"))
    with pytest.raises(BaseImageError, match="not completely installed: systemd"):
        base.choose(Packages(install=()), [SYSTEMD])


def test_a_base_with_another_program_than_the_one_that_is_needed_is_refused_too(base: BaseFacts) -> None:
    write(base, STATUS, STATES.format("installed"))
    write(base, DIVERSIONS, "/usr/bin/systemctl\n/usr/bin/systemctl.real\n:\n")
    with pytest.raises(BaseImageError, match="in the place of: /usr/bin/systemctl"):
        base.choose(Packages(install=()), [SYSTEMD])
