"""What a Destination may say of a lake."""

from typing import Any

import pytest
from pydantic import ValidationError

from penstock.connectors.lake.spec import LakeDestination

POSTGRES = {"host": "db", "database": "catalog", "auth": {"basic": {"secretRef": {"name": "catalog"}}}}
CATALOG = {"catalog": {"postgres": POSTGRES}}
VOLUME = {"volume": {"claimName": "lake"}}


def lake(warehouse: str, **more: Any) -> LakeDestination:
    return LakeDestination.model_validate({"warehouse": warehouse, **more})


@pytest.mark.parametrize(
    ("warehouse", "more"),
    [
        ("s3://lake/wh", CATALOG),
        ("s3://lake/wh/", {**CATALOG, "endpointUrl": "http://minio:9000"}),
        ("s3://lake/", CATALOG),
        ("gs://lake/wh", CATALOG),
        ("file:///volumes/lake/wh", VOLUME),
        ("file:///volumes/lake/wh", {**VOLUME, **CATALOG}),
    ],
)
def test_a_warehouse_is_a_folder_of_a_claim_or_a_bucket_with_a_catalog(warehouse: str, more: dict[str, Any]) -> None:
    assert lake(warehouse, **more).location == warehouse


@pytest.mark.parametrize(
    ("warehouse", "more", "message"),
    [
        ("s3://lake/wh", {}, "a warehouse on s3:// needs a catalog: add `catalog.postgres`"),
        ("gs://lake/wh", {"catalog": None}, "a warehouse on gs:// needs a catalog: add `catalog.postgres`"),
        ("s3://lake/wh", {**CATALOG, **VOLUME}, "volume goes with a file:// warehouse, not with s3://"),
        ("s3://lake//wh", CATALOG, "has no // and at most 700 characters"),
        (f"s3://lake/{'x' * 700}", CATALOG, "has no // and at most 700 characters"),
        ("file:///volumes/lake/wh", {}, "a file:// warehouse needs a volume"),
        ("file:///volumes/other/wh", VOLUME, "warehouse must lie beneath its volume"),
        ("file:///volumes/lake/../wh", VOLUME, "warehouse must lie beneath its volume"),
        ("file:///volumes/lake/wh", {**VOLUME, "endpointUrl": "http://x"}, "endpointUrl goes with an s3:// or gs://"),
        ("az://lake/wh", CATALOG, "should match pattern"),
        ("s3:///wh", CATALOG, "should match pattern"),
        ("s3://lake", CATALOG, "should match pattern"),
        ("s3://key@lake/wh", CATALOG, "a URL has no user and no password"),
        ("s3://lake/wh", {"catalog": {}}, "name postgres"),
        ("s3://lake/wh", {"catalog": {"postgres": {**POSTGRES, "auth": {}}}}, "name basic"),
        ("s3://lake/wh", {"catalog": {"postgres": {**POSTGRES, "schema": 'a"; --'}}}, "should match pattern"),
    ],
)
def test_what_does_not_go_together_is_refused(warehouse: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace(".", r"\.")):
        lake(warehouse, **more)


@pytest.mark.parametrize(
    ("warehouse", "more", "member", "fault"),
    [
        ("s3://lake/wh", CATALOG, "aws", None),
        ("s3://lake/wh", CATALOG, None, "a warehouse on s3:// takes auth.aws"),
        ("s3://lake/wh", {**CATALOG, "endpointUrl": "http://minio"}, None, None),
        ("s3://lake/wh", CATALOG, "googleServiceAccount", "a warehouse on s3:// takes auth.aws"),
        ("gs://lake/wh", CATALOG, "googleServiceAccount", None),
        ("file:///volumes/lake/wh", VOLUME, None, None),
        ("file:///volumes/lake/wh", VOLUME, "aws", "a file:// warehouse takes no auth"),
    ],
)
def test_the_auth_is_that_of_the_warehouse(warehouse: str, more: Any, member: str | None, fault: str | None) -> None:
    assert lake(warehouse, **more).auth_fault(member) == fault


def test_a_worker_has_the_secret_of_the_catalog_and_the_claim() -> None:
    assert (lake("s3://lake/wh", **CATALOG).secrets, lake("s3://lake/wh", **CATALOG).claims) == (("catalog",), ())
    folder = lake("file:///volumes/lake/wh", **VOLUME)
    assert (folder.secrets, folder.claims) == ((), ("lake",))


def test_tables_are_the_same_where_the_catalog_is_the_same() -> None:
    places = [
        lake(place, **CATALOG).table_place(namespace) for place, namespace in (("s3://a/", "x"), ("s3://b/", "y"))
    ]
    assert places == ["postgres://db:5432/catalog/public"] * 2
    other = {"catalog": {"postgres": {**POSTGRES, "schema": "other"}}}
    assert lake("s3://a/", **other).table_place("x") != places[0]
    assert lake("file:///volumes/lake/wh", **VOLUME).table_place("x") == "x/file:///volumes/lake/wh"
