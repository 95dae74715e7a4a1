"""Orders: compressed, of bounded size, and read by the version before and after."""

import json
import random

import pytest

from penstock.control.desired import orders as orders_of
from penstock.language.errors import InvalidSpec
from penstock.runs import order as orders
from penstock.runs.order import RunOrder
from support import scene


def _order() -> RunOrder:
    found = orders_of.of(scene.quickstart().graph("Pipeline", "cities"))
    assert found is not None
    return found


def _with_fields(count: int, length: int, *, random_text: bool) -> RunOrder:
    dice = random.Random(7)
    described = [
        {
            "name": f"field_{number}",
            "type": "string",
            "description": "".join(dice.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))
            if random_text
            else "A field of the table, as many others are.",
        }
        for number in range(count)
    ]
    data = _order().to_object()
    data["datasets"] = [
        {**data["datasets"][0], "schema": {**data["datasets"][0]["schema"], "fields": described}} for _ in range(16)
    ]
    return RunOrder.model_validate(data)


def test_what_was_compressed_is_read_again_and_equal_orders_give_equal_bytes() -> None:
    order = _order()
    assert orders.decompress(order.compress()) == order
    assert _order().compress() == order.compress()


def test_sixteen_datasets_of_a_thousand_fields_fit() -> None:
    order = _with_fields(1000, 0, random_text=False)
    assert len(order.encode()) > 1 << 20
    assert len(order.compress()) < orders.LIMIT
    assert orders.decompress(order.compress()) == order


def test_what_does_not_fit_is_refused_with_its_size() -> None:
    with pytest.raises(InvalidSpec, match="bytes compressed, and 921,600 fit into a ConfigMap") as refused:
        _with_fields(500, 1000, random_text=True).compress()
    assert refused.value.reason == "OrderTooLarge"


def test_an_order_of_the_version_before_is_plain_json() -> None:
    assert orders.decompress(_order().encode().encode()) == _order()


def test_members_of_a_newer_version_are_left_out() -> None:
    data = {**_order().to_object(), "priority": 5}
    data["datasets"][0]["tier"] = "gold"
    assert orders.decompress(json.dumps(data).encode()) == _order()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Expecting value"),
        (b"\x1f\x8bnot gzip", "it is damaged"),
        (b"{}", "it is of version None"),
        (b'{"version": "penstock.dev/order-v9"}', "it is of version penstock.dev/order-v9"),
        (b'{"version": "penstock.dev/order-v1"}', "kind"),
    ],
)
def test_what_is_no_order_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        orders.decompress(data)
