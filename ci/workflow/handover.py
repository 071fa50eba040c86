"""What one job of a workflow hands to later ones as an output: which images there are, and their files' digests."""

from collections.abc import Mapping

from pydantic import RootModel, ValidationError

from ci.host.errors import InputError
from ci.records.record import Sha256
from ci.records.strict_json import parse_json


class Digests(RootModel[dict[str, dict[str, Sha256]]]):
    """Digests by definition and file name, in one line of JSON: small enough for a job's output."""

    def to_line(self) -> str:
        """One line of JSON."""
        return self.model_dump_json()

    def of(self, definition: str) -> Mapping[str, str]:
        """The files of one definition; raises InputError where there are none."""
        try:
            return self.root[definition]
        except KeyError:
            known = ", ".join(sorted(self.root)) or "none"
            raise InputError(f"there are no digests of '{definition}'", hint=f"There are those of: {known}.") from None


def parse_digests(text: str) -> Digests:
    """Read what `to_line` wrote; raises InputError."""
    try:
        return Digests.model_validate_json(text)
    except ValidationError as error:
        raise InputError(
            "these are no digests",
            hint="They come from a job of ci.workflow.collect_images.",
            details=str(error),
        ) from error


def parse_images(text: str) -> list[str]:
    """Read a JSON list of definitions, which must not be empty; raises InputError."""
    try:
        images = parse_json(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        images = None
    if not isinstance(images, list) or not images or not all(isinstance(one, str) for one in images):
        raise InputError(f"{text!r} is not a list of images", hint="It comes from a job of ci.workflow.plan_images.")
    return images
