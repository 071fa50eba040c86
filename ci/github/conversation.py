"""What the checks of a pull request and of a workflow run ask of GitHub, beyond what a release does."""

from ci.fetch.source import AbsentError
from ci.github.answers import ApiAnswer
from ci.github.client import GitHub
from ci.host.errors import RefusedError
from ci.text.markdown import Markdown

BOT = "github-actions[bot]"


class User(ApiAnswer):
    login: str


class Comment(ApiAnswer):
    """A comment on a pull request; `user` is None where the account is gone."""

    id: int
    html_url: str
    body: str | None = None
    user: User | None = None


class Repository(ApiAnswer):
    """A repository, by what no rename changes."""

    id: int


class WorkflowRun(ApiAnswer):
    """A run of a workflow; `path` is the workflow's file, `head_repository` where the commit came from.

    It is None where that fork is gone: https://docs.github.com/en/rest/actions/workflow-runs#get-a-workflow-run
    """

    id: int
    html_url: str
    head_sha: str
    event: str
    path: str
    repository: Repository
    head_repository: Repository | None


def workflow_run(github: GitHub, number: int) -> WorkflowRun:
    """A run of the repository; raises RefusedError where there is none."""
    try:
        return github.read("reading the run", f"/actions/runs/{number}", WorkflowRun)
    except AbsentError:
        raise RefusedError(
            f"there is no run {number} in {github.context.repository}",
            hint="The id is the number in the address of the run's page.",
        ) from None


def find_comment(github: GitHub, pull: int, marker: str) -> Comment | None:
    """The workflow's own comment that begins with `marker`; somebody else's copy of it does not count."""
    comments = github.items("listing the comments", f"/issues/{pull}/comments", Comment)
    ours = (comment for comment in comments if comment.user and comment.user.login == BOT)
    return next((comment for comment in ours if (comment.body or "").startswith(marker)), None)


def put_comment(github: GitHub, pull: int, marker: str, text: Markdown) -> Comment:
    """Have one comment of the workflow's own say `text`; a later call changes it."""
    body = {"body": f"{marker}\n{text}"}
    there = find_comment(github, pull, marker)
    if there is None:
        path = f"/issues/{pull}/comments"
        return github.write("commenting", "POST", path, body, Comment, done=lambda: find_comment(github, pull, marker))
    if (there.body or "").replace("\r\n", "\n").rstrip() == body["body"].rstrip():
        return there
    return github.write("changing the comment", "PATCH", f"/issues/comments/{there.id}", body, Comment)
