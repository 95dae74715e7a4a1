"""Which auth goes with which URL, and which settings."""

from typing import Any

import pytest
from pydantic import ValidationError

from penstock.api.destination import DestinationSpec
from penstock.api.source import SourceSpec

URLS = {
    "file": "file:///volumes/data/in/",
    "https": "https://example.org/a.csv",
    "s3": "s3://bucket/in/",
    "gs": "gs://bucket/in/",
}
AUTH: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "aws": (("s3",), {"secretRef": {"name": "keys"}}),
    "googleServiceAccount": (("gs",), {"secretRef": {"name": "keys"}}),
}


def source(scheme: str, auth: dict[str, Any] | None = None, **more: Any) -> SourceSpec:
    files: dict[str, Any] = {"url": URLS[scheme], "format": {"csv": {}}, **more}
    if scheme == "file":
        files["volume"] = {"claimName": "data"}
    return SourceSpec.model_validate({"connector": {"files": files}, "auth": auth})


@pytest.mark.parametrize("scheme", URLS)
@pytest.mark.parametrize("member", AUTH)
def test_a_member_of_auth_goes_with_the_urls_of_its_store_only(member: str, scheme: str) -> None:
    schemes, settings = AUTH[member]
    if scheme in schemes:
        spec = source(scheme, {member: settings})
        assert spec.auth is not None
        assert (spec.auth.member, spec.auth.secrets) == (member, ("keys",))
    else:
        with pytest.raises(ValidationError, match=rf"auth\.{member} goes with a url that begins with {schemes[0]}://"):
            source(scheme, {member: settings})


def test_the_identity_of_the_pod_needs_no_secret() -> None:
    written: dict[str, Any]
    for written in ({"aws": {}}, {"aws": None}):
        spec = source("s3", written)
        assert spec.auth is not None
        assert spec.auth.secrets == ()


@pytest.mark.parametrize("scheme", URLS)
def test_an_endpoint_goes_with_object_stores(scheme: str) -> None:
    if scheme in ("s3", "gs"):
        source(scheme, endpointUrl="http://127.0.0.1:1")
    else:
        with pytest.raises(ValidationError, match="endpointUrl goes with"):
            source(scheme, endpointUrl="http://127.0.0.1:1")


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_bucket_alone_is_no_file(scheme: str) -> None:
    with pytest.raises(ValidationError, match="names a bucket and no file"):
        source(scheme, url=f"{scheme}://bucket")


@pytest.mark.parametrize("scheme", URLS)
def test_deliveries_go_to_folders(scheme: str) -> None:
    def destination(url: str) -> None:
        volume = {"volume": {"claimName": "data"}} if scheme == "file" else {}
        DestinationSpec.model_validate({"connector": {"files": {"url": url, **volume}}})

    if scheme != "https":
        destination(URLS[scheme])
    with pytest.raises(ValidationError):
        destination(URLS[scheme].rstrip("/"))
