"""A newer base as a pull request: one branch for each definition, one commit, and a text that shows the evidence."""

from dataclasses import dataclass

from ci.github.answers import Commit
from ci.github.files import RepositoryFile
from ci.image.base.refresh import Newer
from ci.release.notes import environment
from ci.release.rollout import ProposedChange
from ci.text.markdown import Markdown
from ci.text.pages import rendered


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """A newer base of the definition `name`, which is in `file`; `text` is its new content."""

    name: str
    file: RepositoryFile
    text: str
    newer: Newer

    @property
    def serials(self) -> Markdown:
        """Which serial takes the place of which."""
        return Markdown("{} instead of {}").format(str(self.newer.offer.serial), str(self.newer.pinned.serial))


def branch(name: str) -> str:
    """The one branch for refreshes of a definition."""
    return f"refresh-base/{name}"


def change(refresh: Refresh, base: str, head: Commit) -> ProposedChange:
    """The pull request to the branch `base`, whose head is `head`."""
    name, serial = refresh.name, refresh.newer.offer.serial
    return ProposedChange(
        # The same for every serial: a later one finds its branch and knows the commit for its own.
        tag=branch(name),
        base=base,
        head=head,
        branch=branch(name),
        files={refresh.file: refresh.text},
        title=f"Refresh the base of {name} to {serial}",
        body=text(refresh),
        subject=f"the refresh of the base of {name} to {serial}",
        one_of_many=True,
    )


def text(refresh: Refresh) -> Markdown:
    """What the pull request says."""
    new = refresh.newer
    size = Markdown("{:,}").format(new.offer.size)
    return rendered(environment(), "base_refresh.md.j2", path=refresh.file.path, new=new, old=new.pinned, size=size)
