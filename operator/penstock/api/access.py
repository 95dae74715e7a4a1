"""What the owner of a Dataset offers to Subscriptions: the fields and the rows."""

from typing import Annotated

from pydantic import Field

from penstock.api.budget import Price
from penstock.language.model import Model
from penstock.language.scalars import Expression, FieldName


class Access(Model):
    """Limits of every Subscription of the Dataset. A change applies from the next delivery on."""

    fields: Annotated[
        list[FieldName] | None,
        Field(
            min_length=1,
            max_length=2000,
            description="The fields that Subscriptions can deliver and use in their rules. A Subscription that uses "
            "another one is refused with the reason AccessDenied. Default: all fields.",
        ),
    ] = None
    filter: Annotated[
        Expression | None,
        Field(
            description="Only rows for which this SQL expression over the Dataset's fields is true can be delivered: "
            "country <> 'ZZ'. It may use fields that are not offered. It applies before the rules of the Subscription, "
            "so a Subscription can neither deliver nor count the other rows. docs/expressions.md lists what is allowed."
        ),
    ] = None
    price_per_thousand: Annotated[
        Price | None,
        Field(
            description="What a thousand delivered rows cost. Each delivery enters its cost in the ledger; Penstock "
            "takes no payment. Default: nothing."
        ),
    ] = None
