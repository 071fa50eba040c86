"""What more than one property test draws."""

from hypothesis import strategies as st
from pydantic import BaseModel


def keys_of_others(keys: st.SearchStrategy[str], *models: type[BaseModel]) -> st.SearchStrategy[str]:
    """Those of `keys` that mean nothing to any of the models, whatever fields they come to have.

    A field's name is its key, too, where it has an alias: pydantic may be told to take either.
    """
    meant = {key for model in models for key in (*model.model_fields, *model.model_json_schema()["properties"])}
    return keys.filter(lambda key: key not in meant)
