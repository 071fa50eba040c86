"""What is promised of what property tests draw."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tests.drawing import keys_of_others


class Read(BaseModel):
    name: str
    url: str = Field(default="", alias="href")


class ReadToo(BaseModel):
    size: int


@given(keys_of_others(st.sampled_from(["name", "url", "href", "size", "note"]), Read, ReadToo))
def test_a_key_of_others_is_none_of_the_models(key: str) -> None:
    assert key == "note"
