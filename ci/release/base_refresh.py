"""A newer base as a pull request: one branch for each definition, one commit, and a text that shows the evidence."""

from dataclasses import dataclass

from ci.release.rollout import Change
from ci.text.markdown import Markdown, code, link, table

NOT_FETCHED = "They were not fetched: the build does that, and compares them with the digest."
CHECKS = (
    "The checks of this pull request build the image on this base and boot-test it; their comment shows what it "
    "changes. Nobody but a person merges it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """A base: its serial, where it is, and its digest."""

    serial: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """A newer base of the definition `name`, whose file is `path`; `text` is its new content.

    `size` is in bytes. `index`, `updated`, `stream_signer` and `checksums_signer` are what it was verified by;
    `vanished` tells that the publisher no longer has the old one.
    """

    name: str
    path: str
    text: str
    old: BaseFacts
    new: BaseFacts
    size: int
    index: str
    updated: str
    stream_signer: str
    checksums_signer: str
    vanished: bool


def branch(name: str) -> str:
    """The one branch for refreshes of a definition."""
    return f"refresh-base/{name}"


def change(refresh: Refresh, base: str) -> Change:
    """The pull request to the branch `base`."""
    marker = f"<!-- fountainkit-toolsmith-image: base {refresh.name} {refresh.new.serial} -->"
    return Change(
        # The same for every serial: a later one finds its branch and knows the commit for its own.
        tag=branch(refresh.name),
        base=base,
        branch=branch(refresh.name),
        files={refresh.path: refresh.text},
        title=f"Refresh the base of {refresh.name} to {refresh.new.serial}",
        body=f"{text(refresh)}\n{marker}\n",
        subject=f"the refresh of the base of {refresh.name} to {refresh.new.serial}",
        marker=marker,
    )


def text(refresh: Refresh) -> Markdown:
    """What the pull request says."""
    old, new = refresh.old, refresh.new
    rows = [
        (Markdown("serial"), code(old.serial), code(new.serial)),
        (Markdown("SHA-256"), code(old.sha256), code(new.sha256)),
        (Markdown("URL"), code(old.url), code(new.url)),
    ]
    folder = f"{new.url.rpartition('/')[0]}/"
    blocks = (
        f"Pins a newer base image in {code(refresh.path)}. Its URL and its digest change, nothing else.",
        table(("", "before", "after"), rows),
        f"{link('The folder of the new serial', folder)} has the publisher's list of packages.",
        _vanished(refresh),
        _evidence(refresh),
        CHECKS,
    )
    return Markdown("\n\n".join(block for block in blocks if block) + "\n")


def _evidence(refresh: Refresh) -> str:
    stream = f"{code(refresh.index)} and its list of images are signed by {code(refresh.stream_signer)}"
    return f"""How it was verified:

- {stream}. The list is of {code(refresh.updated)}.
- `SHA256SUMS` beside the image is signed by {code(refresh.checksums_signer)} and has the same digest.
- The image is there; the stream announces {refresh.size:,} bytes. {NOT_FETCHED}"""


def _vanished(refresh: Refresh) -> str:
    if not refresh.vanished:
        return ""
    return (
        f"**The stream no longer has {code(refresh.old.serial)}**: a build of the base that is pinned now may fail "
        "from one day to the next."
    )
