"""A union's member that is null is the empty object that server-side apply made it from."""

from typing import Any

import pytest
from pydantic import ValidationError

from penstock.connectors.files.spec import Format


@pytest.mark.parametrize("member", ["csv", "json", "parquet"])
def test_a_member_of_null_is_an_empty_one(member: str) -> None:
    options: dict[str, Any] = {"strict": True, "by_alias": True, "by_name": False}
    assert Format.model_validate({member: None}, **options) == Format.model_validate({member: {}}, **options)


def test_null_beside_another_member_is_no_member() -> None:
    assert Format.model_validate({"csv": None, "json": {}}).choice == "json_"


def test_nothing_is_no_member() -> None:
    with pytest.raises(ValidationError, match="choose exactly one of csv, json, parquet"):
        Format.model_validate({})
