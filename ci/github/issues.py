"""Issues: what an automatic check has to tell a person, once."""

from pydantic import RootModel

from ci.fetch.source import AbsentError
from ci.github.answers import Answer
from ci.github.client import PER_PAGE, GitHub
from ci.host.errors import RejectedError


class Label(Answer):
    """A label."""

    name: str


class Issue(Answer):
    """An issue; `pull_request` is there where it is a pull request, which GitHub lists among the issues."""

    number: int
    html_url: str
    state: str
    title: str
    body: str | None = None
    pull_request: dict[str, object] | None = None

    @property
    def open(self) -> bool:
        """True while nobody has closed it."""
        return self.state == "open"


class Issues(RootModel[tuple[Issue, ...]]):
    """A page of issues."""


class Tracker(GitHub):
    """One repository's issues."""

    def labelled(self, label: str) -> list[Issue]:
        """All issues with a label, closed ones too, the oldest first. Only those who may triage can give one."""
        found: list[Issue] = []
        page = 1
        while True:
            query = {"labels": label, "state": "all", "direction": "asc", "per_page": PER_PAGE, "page": page}
            listed = self._read("listing the issues", "/issues", Issues, query).root
            found += [issue for issue in listed if issue.pull_request is None]
            if len(listed) < PER_PAGE:
                return sorted(found, key=lambda issue: issue.number)
            page += 1

    def require_label(self, name: str, *, colour: str, description: str) -> None:
        """Make a label where there is none of this name; `colour` is in hex."""
        try:
            self._read(f"reading the label {name}", f"/labels/{name}", Label)
        except AbsentError:
            body = {"name": name, "color": colour, "description": description}
            try:
                self._write(f"making the label {name}", "POST", "/labels", body, Label)
            except RejectedError:
                self._read(f"reading the label {name}", f"/labels/{name}", Label)  # somebody was faster

    def open_issue(self, *, title: str, body: str, label: str, marker: str) -> Issue:
        """Open an issue, or find the one that a lost answer left: it has the label, and `marker` in its text."""

        def done() -> Issue | None:
            return next((one for one in self.labelled(label) if one.open and marker in (one.body or "")), None)

        request = {"title": title, "body": body, "labels": [label]}
        return self._write("opening the issue", "POST", "/issues", request, Issue, done=done)

    def edit_issue(self, issue: Issue, *, title: str, body: str) -> Issue:
        """Change title and text of an issue."""
        change = {"title": title, "body": body}
        return self._write("updating the issue", "PATCH", f"/issues/{issue.number}", change, Issue)
