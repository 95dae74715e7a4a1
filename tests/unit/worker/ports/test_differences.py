"""What is said of a table that differs from its Dataset's schema."""

import pytest

from penstock.language.errors import InvalidSpec
from penstock.worker.ports import differences
from penstock.worker.ports.differences import Column

MAIL = Column("mail", "string", required=False)
NEW = Column("customer_email", "string", required=False)
ID = Column("id", "long", required=True)


def test_a_renaming_that_is_taken_back_is_explained() -> None:
    found = differences.between([ID, NEW], [ID, MAIL], {})
    with pytest.raises(InvalidSpec, match="set renamedFrom: customer_email in the field mail"):
        differences.check("Dataset orders", "main.orders", found, has_rows=True)


@pytest.mark.parametrize("wanted", [[ID], [ID, Column("mail", "date", required=False)]])
def test_a_field_that_is_removed_is_not_taken_for_renamed(wanted: list[Column]) -> None:
    found = differences.between([ID, NEW], wanted, {})
    with pytest.raises(InvalidSpec) as refused:
        differences.check("Dataset orders", "main.orders", found, has_rows=True)
    assert "renamedFrom" not in refused.value.message
