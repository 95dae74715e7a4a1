"""Which auth goes with which URL, and which settings."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.api.destination import DestinationSpec
from penstock.api.source import SourceSpec
from penstock.connectors.files.spec import FilesSource

KNOWN = "[sftp.example.com]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7cK6d5fOAxQN5wEBtrHVpvzhiWgNnPRLKOqAbBBD2k"
URLS = {
    "file": "file:///volumes/data/in/",
    "https": "https://example.org/a.csv",
    "s3": "s3://bucket/in/",
    "gs": "gs://bucket/in/",
    "az": "az://container/in/",
    "sftp": "sftp://sftp.example.com:2222/in/",
}
AUTH: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "aws": (("s3",), {"secretRef": {"name": "keys"}}),
    "googleServiceAccount": (("gs",), {"secretRef": {"name": "keys"}}),
    "azure": (("az",), {"secretRef": {"name": "keys"}}),
    "ssh": (("sftp",), {"secretRef": {"name": "keys"}, "knownHosts": KNOWN}),
}


def source(scheme: str, auth: dict[str, Any] | None = None, **more: Any) -> SourceSpec:
    files: dict[str, Any] = {"url": URLS[scheme], "format": {"csv": {}}, **more}
    if scheme == "file":
        files["volume"] = {"claimName": "data"}
    return SourceSpec.model_validate({"connector": {"files": files}, "auth": auth or None})


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
    if scheme in ("s3", "gs", "az"):
        source(scheme, endpointUrl="http://127.0.0.1:1")
    else:
        auth = {"ssh": AUTH["ssh"][1]} if scheme == "sftp" else None
        with pytest.raises(ValidationError, match="endpointUrl goes with"):
            source(scheme, auth, endpointUrl="http://127.0.0.1:1")


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_bucket_alone_is_no_file(scheme: str) -> None:
    with pytest.raises(ValidationError, match="names a bucket or container and no file"):
        source(scheme, url=f"{scheme}://bucket")


@pytest.mark.parametrize("scheme", URLS)
def test_deliveries_go_to_folders(scheme: str) -> None:
    def destination(url: str, auth: dict[str, Any]) -> None:
        volume = {"volume": {"claimName": "data"}} if scheme == "file" else {}
        DestinationSpec.model_validate({"connector": {"files": {"url": url, **volume}}, "auth": auth or None})

    if scheme != "https":
        destination(
            URLS[scheme], {member: settings for member, (schemes, settings) in AUTH.items() if scheme in schemes}
        )
    with pytest.raises(ValidationError):
        destination(URLS[scheme].rstrip("/"), {})


def test_an_sftp_server_is_asked_only_with_a_login_and_known_hosts() -> None:
    with pytest.raises(ValidationError, match=r"needs auth\.ssh"):
        source("sftp")
    with pytest.raises(ValidationError, match="knownHosts"):
        source("sftp", {"ssh": {"secretRef": {"name": "keys"}}})


@pytest.mark.parametrize(
    "lines", ["\n", "# comment", "host", "host ssh-ed25519", "host ssh-ed25519 !", "host key AAAA"]
)
def test_what_is_no_line_of_known_hosts(lines: str) -> None:
    with pytest.raises(ValidationError, match=r"known_hosts|ssh-keyscan"):
        source("sftp", {"ssh": {"secretRef": {"name": "keys"}, "knownHosts": lines}})


@pytest.mark.parametrize(
    "lines", [KNOWN, f"# c\n\n{KNOWN} comment\n", f"@cert-authority *.{KNOWN}", f"|1|a=|b= {KNOWN.partition(' ')[2]}"]
)
def test_lines_of_known_hosts(lines: str) -> None:
    source("sftp", {"ssh": {"secretRef": {"name": "keys"}, "knownHosts": lines}})


@pytest.mark.parametrize(
    "url",
    ["sftp://host", "sftp://host:0/a", "sftp://host:65536/a", "sftp://host:x/a", "sftp://h/a/../b/", "sftp://u@h/a"],
)
def test_what_is_no_sftp_url(url: str) -> None:
    with pytest.raises(ValidationError):
        source("sftp", {"ssh": AUTH["ssh"][1]}, url=url)


@pytest.mark.parametrize("url", ["sftp://host/", "sftp://[::1]:22/a", "sftp://10.0.0.1:65535/a b/ü%.csv"])
def test_sftp_urls(url: str) -> None:
    assert source("sftp", {"ssh": AUTH["ssh"][1]}, url=url).connector.spec.location == url


def test_a_container_is_asked_with_a_login_or_at_an_account() -> None:
    with pytest.raises(ValidationError, match=r"needs auth\.azure, or the account in endpointUrl"):
        source("az")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://b/*.csv", 'set url: s3://b/ and glob: "*.csv"'),
        ("gs://b/a/**/x.csv", 'set url: gs://b/a/ and glob: "**/x.csv"'),
        ("sftp://h/in/*/", 'set url: sftp://h/in/ and glob: "*/*"'),
    ],
)
def test_a_pattern_in_a_url_is_refused_with_the_glob_to_set(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        FilesSource.model_validate({"url": url, "format": {"csv": {}}})
