"""QEMUs whose KVM is like that of machines that were seen, with the real QEMU behind them.

What they are known from: KVM in a machine that is itself a guest. On Intel every kernel hung, some after SeaBIOS's
first words, while a guest of 512 bytes ran; on AMD QEMU aborted when it set a register (`kvm_buf_set_msrs`), whatever
it was to start. Stricter than those: one that fails at the second start only, when KVM has been believed.

What they are asked to run with KVM, where they run it, TCG runs: a KVM that is as slow as any can be.
"""

import os
import select
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from ci.host.process import require_tool
from ci.host.qemu import QEMU

SCRIPT = """\
#!/bin/bash
kvm=no whole=no words=()
for word; do
    case $word in
    kvm) kvm=yes; word=tcg,thread=multi ;;
    -enable-kvm) kvm=yes; words+=(-accel); word=tcg ;;
    host) word=max ;;
    *accel=kvm*) kvm=yes; word=${{word/accel=kvm*/accel=tcg}} ;;
    -kernel | -drive | -blockdev) whole=yes ;;
    isa-debug-exit*) small=yes ;;
    esac
    words+=("$word")
done
[[ ${{small-no}} = no ]] || whole=no
fault=none
if [[ $kvm = yes && $whole = yes ]]; then
    echo start >>{starts}
    fault={fault}
    [[ $fault != hangs-at-the-second-start ]] || [[ $(wc -l <{starts}) = 2 ]] || fault=none
fi
[[ $kvm = no || {fault} != aborts ]] || fault=aborts
case $fault in
hangs | hangs-at-the-second-start)
    printf 'SeaBIOS (version 1.16.2-debian-1.16.2-1)\\n'
    sleep 3600
    ;;
aborts)
    echo "$0: ../../target/i386/kvm/kvm.c:3183: kvm_buf_set_msrs: Assertion failed." >&2
    ulimit -c 0
    kill -ABRT $$
    ;;
*) exec {real} "${{words[@]}}" ;;
esac
"""


class Fault(StrEnum):
    """How its KVM fails."""

    HANGS = "hangs"
    ABORTS = "aborts"
    SECOND_START = "hangs-at-the-second-start"
    SLOW = "none"


def put_in_path(folder: Path, fault: Fault) -> str:
    """Make such a QEMU in `folder`, and return a PATH that has it first."""
    folder.mkdir()
    qemu = folder / QEMU
    qemu.write_text(SCRIPT.format(fault=fault, starts=folder / "starts", real=require_tool(QEMU)))
    qemu.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def starts(folder: Path) -> int:
    """How many guests were to be started with KVM."""
    file = folder / "starts"
    return len(file.read_text().splitlines()) if file.exists() else 0


def left_running(folder: Path, patience: float = 30.0) -> list[str]:
    """The processes that the QEMU in `folder` is, or that it started, and that do not end within `patience` seconds."""
    return [words for pid, words in _running(folder) if not _ends(pid, patience)]


def _running(folder: Path) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            ours = os.fsencode(folder) in words + (entry / "environ").read_bytes()
        except OSError:
            continue
        if ours and int(entry.name) != os.getpid():
            yield int(entry.name), words.replace(b"\0", b" ").decode(errors="replace")


def _ends(pid: int, patience: float) -> bool:
    """Whether a process that was just killed is gone in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], patience)[0])
    finally:
        os.close(handle)
