"""A newer base as a pull request: one branch for each definition, one commit, and a text that shows the evidence."""

from dataclasses import dataclass

from ci.github.answers import Commit
from ci.image.base.refresh import Newer
from ci.release.rollout import ProposedChange
from ci.text.markdown import Markdown, code, link, table

NOT_FETCHED = "They were not fetched: the build does that, and compares them with the digest."
VANISHED = (
    "**The stream no longer has {serial}**: a build of the base that is pinned now may fail from one day to the next."
)
CHECKS = (
    "The checks of this pull request build the image on this base and boot-test it; their comment shows what it "
    "changes. Nobody but a person merges it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """A newer base of the definition `name`, whose file is `path`; `text` is its new content, `before` the old."""

    name: str
    path: str
    before: str
    text: str
    newer: Newer

    @property
    def serials(self) -> Markdown:
        """Which serial takes the place of which."""
        return Markdown(f"{code(str(self.newer.serial))} instead of {code(str(self.newer.pinned.serial))}")


def branch(name: str) -> str:
    """The one branch for refreshes of a definition."""
    return f"refresh-base/{name}"


def change(refresh: Refresh, base: str, head: Commit) -> ProposedChange:
    """The pull request to the branch `base`, whose head is `head`."""
    name, serial = refresh.name, refresh.newer.serial
    marker = f"<!-- fountainkit-toolsmith-image: base {name} {serial} -->"
    return ProposedChange(
        # The same for every serial: a later one finds its branch and knows the commit for its own.
        tag=branch(name),
        base=base,
        head=head,
        before={refresh.path: refresh.before},
        branch=branch(name),
        files={refresh.path: refresh.text},
        title=f"Refresh the base of {name} to {serial}",
        body=f"{text(refresh)}\n{marker}\n",
        subject=f"the refresh of the base of {name} to {serial}",
        marker=marker,
    )


def text(refresh: Refresh) -> Markdown:
    """What the pull request says."""
    new, old = refresh.newer, refresh.newer.pinned
    rows = [
        (Markdown("serial"), code(str(old.serial)), code(str(new.serial))),
        (Markdown("SHA-256"), code(old.sha256), code(new.sha256)),
        (Markdown("URL"), code(old.url), code(new.url)),
    ]
    folder = f"{new.url.rpartition('/')[0]}/"
    blocks = (
        f"Pins a newer base image in {code(refresh.path)}. Its URL and its digest change, nothing else.",
        table(("", "before", "after"), rows),
        f"{link('The folder of the new serial', folder)} has the publisher's list of packages.",
        VANISHED.format(serial=code(str(old.serial))) if new.vanished else "",
        _evidence(new),
        CHECKS,
    )
    return Markdown("\n\n".join(block for block in blocks if block) + "\n")


def _evidence(new: Newer) -> str:
    stream = f"{code(new.index)} and its list of images are signed by {code(new.stream_signer)}"
    return f"""How it was verified:

- {stream}. The list is of {code(new.updated)}.
- `SHA256SUMS` beside the image is signed by {code(new.checksums_signer)} and has the same digest.
- The image is there; the stream announces {new.size:,} bytes. {NOT_FETCHED}"""
