"""The commands of a shell script, as far as one can tell from its text."""

import re

_HEREDOC = re.compile(r"<<'?(\w+)'?\n.*?^\1$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"(^|\s)#.*")
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*\"""")
_FUNCTION = re.compile(r"^(\w+)\(\) [{(]", re.MULTILINE)
_SUBSTITUTION = re.compile(r"\$\([^)]*\)?")
# A word where a command begins, after variables that are set for it, and without its folder.
_COMMAND = re.compile(
    r"(?:^|[;&|({`)!]|\$\(|-exec\s)\s*(?:(?:!|do|then|else|elif|if|while|until|exec)\s+)*"
    r"(?:[A-Za-z_]+=[^\s$]*\s+)*(?:/\S*/)?([a-z][a-z0-9_.-]*)(?![a-z0-9_.=-])",
    re.MULTILINE,
)


def commands(script: str) -> set[str]:
    """Every word of `script` that may be a program; some are none, such as the patterns of a `case`."""
    text = _COMMENT.sub(r"\1", _HEREDOC.sub("\n", script)).replace("\\\n", " ")
    return set(_COMMAND.findall(_QUOTED.sub(_unquoted, text))) - set(_FUNCTION.findall(script))


def _unquoted(quoted: re.Match[str]) -> str:
    """What a shell would run of a text in quotes."""
    return "" if quoted[0].startswith("'") else " ".join(_SUBSTITUTION.findall(quoted[0]))
