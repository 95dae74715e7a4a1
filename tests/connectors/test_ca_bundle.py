"""`caBundle` of what is reached by https, against each system's server behind TLS with a certificate of our own."""

import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from connectors.contract.adapters import SOURCES, Json, SourceAdapter
from connectors.contract.rig import reading
from penstock.connectors.files.spec import FilesSource
from penstock.connectors.lake.spec import LakeDestination
from support import configmaps, tlsfront

NAMES = ("files-web-basic", "files-s3", "files-gcs", "files-azure")
BUNDLE = {"configMapRef": {"name": "company"}}


@dataclass
class Authority:
    """An authority, what servers take that have a certificate for localhost, and its own certificate."""

    context: ssl.SSLContext
    pem: str


@pytest.fixture(scope="module")
def authority() -> Authority:
    made = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.issue_cert("localhost").configure_cert(context)
    return Authority(context, made.cert_pem.bytes().decode())


def encrypt(adapter: SourceAdapter, host: str, port: int) -> None:
    """Let all that the adapter says be reached by https at this port; Google's login, too."""
    place = adapter.address
    assert place is not None
    here = f"http://{place[0]}:{place[1]}"
    there = f"https://{host}:{port}"
    adapter.connector = json.loads(json.dumps(adapter.connector).replace(here, there))
    adapter.secrets = json.loads(json.dumps(adapter.secrets).replace(here, there))
    adapter.connector["caBundle"] = BUNDLE


@pytest.mark.parametrize("name", NAMES)
def test_a_server_is_trusted_by_its_bundle_alone(name: str, authority: Authority, tmp_path: Path) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    untrusted = "Name the authority that has signed it in caBundle"
    with reading(SOURCES[name], tmp_path, 5) as rig:
        adapter = rig.source
        assert adapter.address is not None
        with tlsfront.https(adapter.address[1], authority.context) as port:
            encrypt(adapter, "localhost", port)
            configmaps.put(tmp_path, "company", **{"ca.crt": authority.pem, "other.pem": other, "none.pem": "canary"})
            for bundle, reason, said in (
                ({"configMapRef": {"name": "company", "key": "other.pem"}}, "TlsFailed", untrusted),
                (None, "TlsFailed", untrusted),
                ({"configMapRef": {"name": "company", "key": "none.pem"}}, "TlsFailed", "has no certificate in PEM"),
                (
                    {"configMapRef": {"name": "missing"}},
                    "ResourceNotFound",
                    "ConfigMap missing with the key ca.crt does",
                ),
            ):
                adapter.connector["caBundle"] = bundle
                rig.prepare()
                rig.work("wrong")
                report = rig.report("wrong")
                assert (report.state, report.reason) == ("Failed", reason), report.message
                assert said in (report.message or "")
                assert "canary" not in rig.output
            adapter.connector["caBundle"] = BUNDLE
            rig.prepare()
            assert rig.work("right") == 0, rig.output
            assert rig.loaded() == rig.expected(5)


def test_a_certificate_for_another_name_or_of_the_past_says_so(tmp_path: Path) -> None:
    made = trustme.CA()
    past = datetime(2020, 1, 1, tzinfo=UTC)
    certificates = {
        "Name the host as its certificate does": made.issue_cert("elsewhere"),
        "Renew the certificate of the server": made.issue_cert("localhost", not_before=past, not_after=past),
    }
    configmaps.put(tmp_path, "company", **{"ca.crt": made.cert_pem.bytes().decode()})
    with reading(SOURCES["files-web-basic"], tmp_path, 1) as rig:
        address, connector = rig.source.address, rig.source.connector
        assert address is not None
        for said, certificate in certificates.items():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            rig.source.connector = connector
            with tlsfront.https(address[1], context) as port:
                encrypt(rig.source, "localhost", port)
                rig.prepare()
                rig.work("r1")
            assert (rig.report("r1").reason, said in (rig.report("r1").message or "")) == ("TlsFailed", True), (
                rig.output
            )


@pytest.mark.parametrize(
    ("url", "endpoint", "said"),
    [
        ("sftp://h/in/", None, "caBundle goes with a server that is reached by https, not with sftp://"),
        ("http://h/a.csv", None, "caBundle goes with a server that is reached by https, not with http://"),
        ("s3://b/in/", "http://h", "caBundle needs an endpointUrl that begins with https://"),
        ("https://h/a.csv", None, None),
        ("s3://b/in/", None, None),
        ("az://b/in/", "https://h", None),
    ],
)
def test_a_bundle_is_refused_where_it_has_no_use(url: str, endpoint: str | None, said: str | None) -> None:
    place: Json = {"url": url, "format": {"csv": {}}, "caBundle": BUNDLE}
    place |= {"endpointUrl": endpoint} if endpoint else {}
    if said is None:
        assert FilesSource.model_validate(place).config_maps == ("company",)
        return
    with pytest.raises(ValueError, match=said):
        FilesSource.model_validate(place)


def test_a_lake_has_a_bundle_for_its_bucket_and_one_for_its_catalog() -> None:
    login = {"basic": {"secretRef": {"name": "catalog"}}}
    catalog = {"host": "h", "database": "d", "sslMode": "verify-full", "auth": login}
    postgres = {**catalog, "caBundle": {"configMapRef": {"name": "database-ca"}}}
    place = {"warehouse": "s3://b/wh", "caBundle": BUNDLE, "catalog": {"postgres": postgres}}
    assert LakeDestination.model_validate(place).config_maps == ("company", "database-ca")
    folder = {"warehouse": "file:///volumes/a/wh", "volume": {"claimName": "a"}, "caBundle": BUNDLE}
    with pytest.raises(ValueError, match="caBundle goes with a server that is reached by https, not with file://"):
        LakeDestination.model_validate(folder)
