"""The questions put to the consumer's own machine: QEMU's default memory, one CPU, shares of the host."""

import re

from ci.boot.checks.check import CommandCheck, Empty, Equals, Matches
from ci.boot.checks.guest import (
    CURL,
    DEFAULT_ROUTE,
    FAILED_UNITS,
    GIT,
    PYTHON,
    QUICK_START,
    RESOLVER,
    SUDO,
    SYSTEM_RUNNING,
)

# Names that a shell, a protocol or a locale may stumble over.
SPECIAL_NAME = "two words, naïve ☃.txt"


def consumer_checks(share: str, known_file: str, content: str) -> tuple[CommandCheck, ...]:
    """What the consumer's own start must show. `share` is the tag of the read-only share.

    Its files `known_file` and SPECIAL_NAME hold `content`.
    """
    return (
        SYSTEM_RUNNING,
        FAILED_UNITS,
        QUICK_START,
        SUDO,
        CURL,
        GIT,
        PYTHON,
        DEFAULT_ROUTE,
        RESOLVER,
        CommandCheck(
            id="swap",
            title="A small machine has swap",
            command="awk 'NR > 1' /proc/swaps",
            expected=Matches(r"/\S+\s.*", "a device or file that is swapped to"),
        ),
        CommandCheck(
            id="share-mounted",
            title="The workspace is mounted",
            command=f"findmnt --noheadings --output SOURCE,FSTYPE --target /mnt/{share}",
            expected=Matches(rf"{re.escape(share)}\s+9p", f"{share}, as 9p"),
        ),
        CommandCheck(
            id="share-pieces",
            title="What the share needs of memory at a time fits a small machine",
            command=f"findmnt --noheadings --output OPTIONS --target /mnt/{share} | tr , '\\n' | grep ^msize=",
            expected=Equals("msize=32768"),
        ),
        CommandCheck(
            id="share-readable",
            title="The workspace's files can be read",
            command=f"cat /mnt/{share}/{known_file}",
            expected=Equals(content),
        ),
        CommandCheck(
            id="share-names",
            title="File names with spaces and in UTF-8 are the host's",
            command=f"cat '/mnt/{share}/{SPECIAL_NAME}'",
            expected=Equals(content),
        ),
        CommandCheck(
            id="share-read-only",
            title="The workspace cannot be written to, not even by root",
            command=f"touch /mnt/{share}/written 2>/dev/null && echo written || echo refused",
            expected=Equals("refused"),
            root=True,
        ),
    )


# Asked when everything else has been done.
NO_OOM = CommandCheck(
    id="no-oom-kill",
    title="Memory never ran out",
    command="dmesg | awk '/[Oo]ut of memory|oom-kill|oom_reaper/'",
    expected=Empty(),
    root=True,
)
