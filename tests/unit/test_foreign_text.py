"""All that is shown goes through the rim: nobody else writes to the terminal, and Markdown is made of literals."""

import ast
from collections.abc import Iterator

from tests.unit.test_structure import TREES, dotted

# Who writes to stdout and stderr: what a person is told; commands to the runner; a bug's traceback and --verbose.
RIM = {"ci.host.progress", "ci.host.actions", "ci.host.cli"}
# What is run before there are libraries, and only prints what is in this repository.
OWN_TEXT = {"ci.__main__", "ci.consume.bundle"}
WRITERS = {"print", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__", "Console", "logging.StreamHandler"}
SUMMARY = "GITHUB_STEP_SUMMARY"

# What Markdown may be made of beside literals: words of our enumerations, and texts that are checked where they are
# read or made.
CHECKED = {
    "check.outcome", "outcome",  # ci.records.validation.Outcome
    "part",  # names of fields of SetChanges
    "what",  # of literals, a line above
    "word",  # one of two literals
    "version", "Version.parse(previous.tag)", "version.day.isoformat()",  # ci.records.version
    "known.title",  # of checks.toml
    "manifest_snippet(record)",  # JSON whose texts ci.records.manifest_rules has checked
}  # fmt: skip


# Who hands the type itself on: for the words of checks.toml, and for figures that a person pastes where he likes.
HANDED_ON = {"ci.boot.report", "ci.bench.record"}


def dotted_name(node: ast.AST) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def test_nobody_but_the_rim_writes_to_the_terminal() -> None:
    wrong = {
        f"{dotted(path)}:{node.lineno} uses {name}"
        for path, tree in TREES.items()
        if dotted(path) not in RIM | OWN_TEXT
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute) and (name := dotted_name(node)) in WRITERS
        if not (name == "Console" and dotted(path).startswith("ci.boot."))  # a guest's, not rich's
    }
    assert not wrong


def test_nobody_but_the_rim_knows_where_the_summary_is() -> None:
    found = {
        dotted(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value == SUMMARY
    }
    assert found == {"ci.host.actions"}


def literal(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return literal(node.body) and literal(node.orelse)
    return isinstance(node, ast.Constant)


def made(tree: ast.AST) -> Iterator[ast.expr]:
    """What Markdown is made of, by whatever way: as it is called, and as a function that is handed on."""
    called = {
        id(node.func): node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted_name(node.func).rpartition(".")[2] == "Markdown"
    }
    annotations = {id(inner) for node in ast.walk(tree) for inner in _annotations(node)}
    for node in ast.walk(tree):
        if id(node) in called:
            yield called[id(node)].args[0]
        elif isinstance(node, ast.Name) and node.id == "Markdown" and id(node) not in annotations:
            yield node


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    for field in ("annotation", "returns"):
        if (annotation := getattr(node, field, None)) is not None:
            yield from ast.walk(annotation)
    if isinstance(node, ast.Call) and dotted_name(node.func) == "isinstance":
        yield from ast.walk(node.args[1])


def test_markdown_is_made_of_literals_and_of_what_the_text_room_makes() -> None:
    wrong = {
        f"{dotted(path)}:{node.lineno} makes Markdown of {ast.unparse(node)}"
        for path, tree in TREES.items()
        if not dotted(path).startswith("ci.text.")
        for node in made(tree)
        if not literal(node) and ast.unparse(node) not in CHECKED
        if not (ast.unparse(node) == "Markdown" and dotted(path) in HANDED_ON)
    }
    assert not wrong
