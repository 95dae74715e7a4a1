"""sslMode of PostgreSQL and MySQL, against real servers whose certificate is for localhost and one more name."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from penstock.connectors.mysql.server import Server
from penstock.connectors.mysql.source import MysqlSource
from penstock.connectors.mysql.spec import MysqlSource as MysqlSpec
from penstock.connectors.postgres.connection import Place
from penstock.connectors.postgres.source import PostgresSource
from penstock.connectors.postgres.spec import PostgresSource as PostgresSpec
from penstock.language.auth import Auth
from penstock.language.errors import InvalidSpec, PenstockError
from penstock.runs import places
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.rows import engine
from support import configmaps, lookup, mysql, postgres, tlsfront

NAMED, UNNAMED = "localhost", "127.0.0.1"
KINDS = ("postgres", "mysql")
_QUERIES = {
    "postgres": "SELECT 'of the front' AS encrypted",
    "mysql": "SELECT IF(variable_value = '', 'false', 'true') AS encrypted "
    "FROM information_schema.session_status WHERE variable_name = 'Ssl_version'",
}


@dataclass
class Servers:
    """PostgreSQL's front, the ports of servers with TLS and without it by kind, and the right authority."""

    front: tlsfront.Front
    with_tls: dict[str, int]
    without: dict[str, int]
    authority: str


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    authority = trustme.CA()
    issued = authority.issue_cert(NAMED, lookup.NAME)
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "server.crt", folder / "server.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    key.chmod(0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    with ExitStack() as stack:
        plain = stack.enter_context(postgres.serve())
        front = stack.enter_context(tlsfront.serving(plain.port, context))
        files = (f"--ssl-cert={certificate}", f"--ssl-key={key}")
        secure_maria = stack.enter_context(mysql.serve(folder / "a", settings=files))
        plain_maria = stack.enter_context(mysql.serve(folder / "b", settings=("--skip-ssl",)))
        for server in (secure_maria, plain_maria):
            server.database("shop", "CREATE TABLE t (n INT)")
        yield Servers(
            front,
            {"postgres": front.port, "mysql": secure_maria.port},
            {"postgres": plain.port, "mysql": plain_maria.port},
            authority.cert_pem.bytes().decode(),
        )


def source(
    kind: str, root: Path, place: tuple[str, int], mode: str, authority: str | None, **more: Any
) -> PostgresSource | MysqlSource:
    folder = root / places.SECRETS.lstrip("/") / "shop"
    folder.mkdir(parents=True, exist_ok=True)
    user, password = (postgres.SUPERUSER, postgres.PASSWORD) if kind == "postgres" else (mysql.USER, mysql.PASSWORD)
    keys = {"username": user, "password": password, **({"ca.crt": authority} if authority else {})}
    for name, value in keys.items():
        (folder / name).write_text(value)
    connector: dict[str, Any] = {
        "host": place[0], "port": place[1], "sslMode": mode, "database": "postgres" if kind == "postgres" else "shop",
        "queries": [{"name": "q", "sql": _QUERIES[kind]}], **more,
    }  # fmt: skip
    auth = {"basic": {"secretRef": {"name": "shop"}}}
    order = SourceOrder.model_validate({"name": "shop", "connector": {kind: connector}, "auth": auth})
    pod = Pod(root, "run", "pod", None, 2)
    return PostgresSource(order, pod) if kind == "postgres" else MysqlSource(order, pod)


def query(reading: PostgresSource | MysqlSource) -> str:
    """What the query says: of MariaDB, whether it sees an encrypted connection."""
    with reading.session([]) as session, engine.small() as connection:
        for opening in session.readers("q", session.plan("q").inputs[0].parts):
            with opening() as reader:
                for work in reader.works(reader.columns.names):
                    return str(work(connection).table.column(0).to_pylist()[0])
    raise AssertionError("the query has no row")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        (("disable", "none", NAMED), "false"),
        (("require", "none", UNNAMED), "true"),
        (("require", "wrong", UNNAMED), "true"),
        (("verify-ca", "right", NAMED), "true"),
        (("verify-ca", "right", UNNAMED), "true"),
        (("verify-ca", "wrong", NAMED), "certificate was refused"),
        (("verify-full", "right", NAMED), "true"),
        (("verify-full", "right", UNNAMED), "Name the host as its certificate does"),
        (("verify-full", "wrong", NAMED), "certificate was refused"),
        (("verify-full", "none", NAMED), "certificate was refused"),
    ],
)
def test_each_mode_checks_what_it_says(
    kind: str, checks: tuple[str, str, str], expected: str, servers: Servers, tmp_path: Path
) -> None:
    mode, given, host = checks
    authorities = {"none": None, "right": servers.authority, "wrong": trustme.CA().cert_pem.bytes().decode()}
    reading = source(kind, tmp_path, (host, servers.with_tls[kind]), mode, authorities[given])
    if expected in ("true", "false"):
        servers.front.encrypted.clear()
        seen = query(reading)
        if kind == "postgres":
            seen = str(all(servers.front.encrypted)).lower()
        assert seen == expected
        return
    with pytest.raises(InvalidSpec, match=expected) as refused:
        reading.check()
    assert refused.value.reason == "TlsFailed"
    assert not any(word in str(refused.value) for word in (mysql.PASSWORD, postgres.SUPERUSER + '"', "BEGIN CERT"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_server_without_tls_is_not_spoken_to_in_plain_text(
    kind: str, mode: str, servers: Servers, tmp_path: Path
) -> None:
    reading = source(kind, tmp_path, (NAMED, servers.without[kind]), mode, servers.authority)
    with pytest.raises(InvalidSpec, match=r"does not speak TLS\. Turn on ssl there") as refused:
        reading.check()
    assert refused.value.reason == "TlsFailed"


@pytest.mark.parametrize("kind", KINDS)
def test_an_authority_that_is_no_certificate_is_named(kind: str, servers: Servers, tmp_path: Path) -> None:
    with pytest.raises(PenstockError) as refused:
        source(kind, tmp_path, (NAMED, servers.with_tls[kind]), "verify-full", "canary, no PEM").check()
    assert "ca.crt" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_verify_ca_without_an_authority_says_what_is_missing(servers: Servers, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"needs the certificate authority: set caBundle, or add the key ca\.crt"):
        source("postgres", tmp_path, (NAMED, servers.with_tls["postgres"]), "verify-ca", None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_ca_bundle_takes_the_place_of_the_secrets_authority(kind: str, servers: Servers, tmp_path: Path) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    remarks = "# Főtanúsítvány\n"  # as public bundles have them
    place = (NAMED, servers.with_tls[kind])
    for bundle, authority, accepted in ((remarks + servers.authority, other, True), (other, servers.authority, False)):
        configmaps.put(tmp_path, "company", **{"ca.crt": bundle})
        reading = source(
            kind, tmp_path, place, "verify-full", authority, caBundle={"configMapRef": {"name": "company"}}
        )
        if accepted:
            assert query(reading) in ("true", "of the front")
            continue
        with pytest.raises(InvalidSpec, match="Name the authority that has signed it in caBundle") as refused:
            reading.check()
        assert refused.value.reason == "TlsFailed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_ca_bundle_needs_a_mode_that_checks(kind: str) -> None:
    spec = {"postgres": PostgresSpec, "mysql": MysqlSpec}[kind]
    place = {"host": "h", "port": 1, "database": "d", "caBundle": {"configMapRef": {"name": "company"}}}
    with pytest.raises(ValueError, match="caBundle needs sslMode: verify-full or verify-ca; require checks no"):
        spec.model_validate(place)
    assert spec.model_validate({**place, "sslMode": "verify-ca"}).config_maps == ("company",)


def connect(kind: str, root: Path, host: str, servers: Servers, look_up: lookup.Changing) -> None:
    """Connect with verify-full, and ask the server something. `look_up` gives the addresses of the host."""
    source(kind, root, (host, 1), "verify-full", servers.authority)  # it makes the Secret
    connector = {"host": host, "port": servers.with_tls[kind], "sslMode": "verify-full"}
    if kind == "postgres":
        spec = PostgresSpec.model_validate({**connector, "database": "postgres"})
        auth = Auth.model_validate({"basic": {"secretRef": {"name": "shop"}}})
        with Place(spec, auth, Pod(root, "run", "pod", None, 2), "Source shop", look_up).connected() as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]
        return
    credentials = (mysql.USER, mysql.PASSWORD, servers.authority)
    server = Server(MysqlSpec.model_validate({**connector, "database": "shop"}), credentials, "Source shop", look_up)
    assert server.rows("SELECT 1") == [("1",)]
    server.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_address_that_was_checked_is_connected_to_and_the_name_verified(
    kind: str, servers: Servers, tmp_path: Path
) -> None:
    names = lookup.Changing([["127.0.0.1"], [lookup.METADATA], ["127.0.0.1", lookup.METADATA]])
    connect(kind, tmp_path, lookup.NAME, servers, names)
    assert names.asked == [lookup.NAME]
    for _ in range(2):
        with pytest.raises(InvalidSpec, match="Nothing is read from there"):
            connect(kind, tmp_path, lookup.NAME, servers, names)
    with pytest.raises(InvalidSpec, match="Name the host as its certificate does"):
        connect(kind, tmp_path, "other.invalid", servers, lookup.Changing())


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_address_is_tried_where_nothing_listens(kind: str, servers: Servers, tmp_path: Path) -> None:
    connect(kind, tmp_path, lookup.NAME, servers, lookup.Changing([["127.0.0.2", "127.0.0.1"]]))
