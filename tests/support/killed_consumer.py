"""The consumer's tool in a process of its own, which is killed at a chosen moment."""

import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ci import ensure_vm
from ci.host import cli

# A server that has imported everything once, and forks for each case.
# https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])

SECONDS = 60
# https://docs.python.org/3/library/audit_events.html; each is raised before its deed is done.
CHANGES = {"os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "shutil.rmtree"}


def killed_before_change(number: int, workspace: Path, flags: Sequence[str]) -> bool:
    """Run the tool and kill it before its change `number` to the workspace; False where it ends before that."""
    process = _context.Process(target=_run, args=(workspace, flags, number))
    process.start()
    process.join(SECONDS)
    code = process.exitcode
    process.close()
    assert code in {0, -signal.SIGKILL}
    return code != 0


def killed_when(reached: Callable[[float], bool], workspace: Path, flags: Sequence[str] = ()) -> None:
    """Run the tool, and kill it when `reached`, which waits for so many seconds at most, returns True."""
    process = _context.Process(target=_run, args=(workspace, flags, None))
    process.start()
    try:
        assert reached(SECONDS), "it never came to that"
    finally:
        process.kill()
        process.join(SECONDS)
        process.close()


def run_at_once(count: int, workspace: Path, flags: Sequence[str]) -> list[int | None]:
    """Run the tool so many times at once, and return how each ended; None where one did not."""
    processes = [_context.Process(target=_run, args=(workspace, flags, None)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def _run(workspace: Path, flags: Sequence[str], number: int | None) -> None:
    if number is not None:
        sys.addaudithook(functools.partial(_count, workspace=os.fspath(workspace), left=[number]))
    log = ["--log", os.fspath(workspace.with_suffix(".log"))]
    main = functools.partial(ensure_vm.main, environ={})
    with Path(os.devnull).open("w") as nothing:
        sys.stdout = sys.stderr = nothing
        sys.exit(cli.run(main, ensure_vm.arguments(), ["--workspace", os.fspath(workspace), *log, *flags]))


def _count(event: str, arguments: tuple[Any, ...], *, workspace: str, left: list[int]) -> None:
    if not arguments or not isinstance(arguments[0], str | os.PathLike):
        return
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    # Below the workspace the tool uses names in open folders.
    path = Path(arguments[0])
    if (writes or event in CHANGES) and (os.fspath(path).startswith(workspace) or not path.is_absolute()):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
