"""What the catalogue shows of each release beside its record: what is chosen, compared and said in words."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from markupsafe import Markup

from ci.records.build import Verification
from ci.records.release import ReleaseRecord
from ci.text import figures
from ci.text.bars import Bars, draw_bars, size_bars, time_bars

# The boot whose time is shown: as a consumer starts the image. Where it was not made, the one with everything checked.
BOOTS = ("consumer", "full")
MOST_PACKAGES = 300

VOUCHED_FOR: Final = {
    Verification.PINNED_DIGEST: "its digest is pinned",
    Verification.SIGNED_CHECKSUMS: "its checksums are signed",
    Verification.SIGNED_PACKAGES: "made from signed packages",
    Verification.NONE: "not verified",
}

_WEB = re.compile(r"https?://[A-Za-z0-9.:-]+(/[A-Za-z0-9._~/?#@!$&'()*+,;=:%-]*)?", re.ASCII)
_LOCAL = {"localhost", "127.0.0.1"}


def safe_link(url: str) -> str | None:
    """`url` where following it can do no harm, None where it is to be shown only.

    Encrypted, or on this machine, where releases are rehearsed; and the host is what it seems to be.
    """
    if not _WEB.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return url if host and (parts.scheme == "https" or host in _LOCAL) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownBoot:
    """How soon SSH answered. `emulated` tells that no KVM helped, so that the two kinds are not compared."""

    name: str
    seconds: float
    accelerator: str

    @property
    def emulated(self) -> bool:
        return self.accelerator != "kvm"

    @property
    def how(self) -> str:
        """The circumstances, in words."""
        return {"kvm": "with KVM", "tcg": "without KVM"}.get(self.accelerator, self.accelerator)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRelease:
    """A release, and what its record does not say as a page needs it."""

    record: ReleaseRecord

    @property
    def built_at(self) -> datetime:
        return self.record.image.built_at.astimezone(UTC)

    @property
    def commit_link(self) -> str | None:
        """The commit's page."""
        return self._page(f"commit/{self.record.commit}")

    @property
    def attestations_link(self) -> str | None:
        """The page of all that the repository's workflows had signed."""
        return self._page("attestations")

    @property
    def fetch(self) -> str:
        """What a consumer types, in a workspace with the manifest; a step that fails ends it."""
        tool = self.record.ensure_vm
        name = shlex.quote(tool.name)
        return (
            f"curl --fail --location --output {name} {shlex.quote(tool.url)} &&\n"
            f"echo {shlex.quote(f'{tool.sha256}  {tool.name}')} | sha256sum --check &&\n"
            f"python3 {name} --localize"
        )

    def _page(self, path: str) -> str | None:
        """A page of the repository; None where that is not known."""
        return safe_link(f"{self.record.home}/{path}") if self.record.home else None

    @property
    def size_change(self) -> str | None:
        """Since the release before; None where that was of another image, or there was none."""
        image, previous = self.record.image, self.record.previous
        if previous is None or previous.name != image.name:
            return None
        return figures.size_change(image.qcow2.size - previous.qcow2_size)

    @property
    def boot(self) -> ShownBoot | None:
        validation = self.record.image.validation
        times = validation.ssh_seconds
        name = next((boot for boot in (*BOOTS, *sorted(times)) if boot in times), None)
        return ShownBoot(name=name, seconds=times[name], accelerator=validation.accelerator) if name else None

    @property
    def pictures(self) -> list[tuple[str, Markup]]:
        """Where the time of a start and the bytes went, with titles; what the record does not tell is left out."""
        image = self.record.image
        start = time_bars((part.name, part.begin, part.seconds) for part in image.validation.start)
        sizes = size_bars((part.name, part.kib) for part in image.largest)
        shown = (("Where the time of a start goes", start), ("Where the bytes are", sizes))
        return [(title, draw_bars(title, [Bars("", bars)], alone=False)) for title, bars in shown if bars]

    @property
    def counts(self) -> list[str]:
        """How many packages each kind of change befell; none where nothing could be compared."""
        counts = Counter(what for what, *_ in self.packages)
        return [f"{counts[what]:,} {what}" for what in ("upgraded", "added", "removed", "downgraded") if counts[what]]

    @property
    def packages(self) -> list[tuple[str, str, str, str]]:
        """The packages that changed: how, the name, the version before and the version now, '' where there was none."""
        diff = self.record.changes
        if diff is None:
            return []
        return [
            *(("added", one.name, "", one.version) for one in diff.added),
            *(("removed", one.name, one.version, "") for one in diff.removed),
            *(("downgraded", one.new.name, one.old.version, one.new.version) for one in diff.downgraded),
            *(("upgraded", one.new.name, one.old.version, one.new.version) for one in diff.upgraded),
        ]
