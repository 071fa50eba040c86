"""The command lines of docs/consuming.md, as they stand there."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from ci.boot.vm.qemu import ConsumerSpec
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.repository import ROOT

PAGE = ROOT / "docs" / "consuming.md"


def qemu_lines() -> list[list[str]]:
    """The words of each QEMU command on the page, in its order."""
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^qemu-system-\w+ .*$", text, re.MULTILINE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeSpec(ConsumerSpec):
    """The page's last machine, with our folders, port and accelerator in the place of the reader's."""

    out: Path

    def argv(self, acceleration: Acceleration, sockets: Path | None) -> list[str]:
        assert sockets is None
        own = {"$image": self.image, "$PWD": self.workspace, "$out": self.out, ":3023-": f":{self.host_port}-"}
        words = qemu_lines()[-1]
        for theirs, ours in own.items():
            assert sum(theirs in word for word in words) == 1
            words = [word.replace(theirs, str(ours)) for word in words]
        kvm = words.index("-enable-kvm")
        accelerator = ["-enable-kvm"] if acceleration.accelerator is Accelerator.KVM else ["-accel", "tcg"]
        return [*words[:kvm], *accelerator, *words[kvm + 1 :]]
