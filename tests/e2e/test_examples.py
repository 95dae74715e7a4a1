"""Every example, run as its README says: with kubectl, real data, and counts that must come out exactly."""

import contextlib
import csv
import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from penstock.cli import sample
from support import mysql, postgres, s3
from support.clusters import ROOT, Session

EXAMPLES = ROOT / "examples"
FLIGHTS = 336_776


def test_every_example_is_tested_here() -> None:
    folders = {folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()}
    assert folders == {
        *("01-quickstart", "02-s3", "03-json-lines", "04-sqlite", "05-postgres", "06-nested", "07-duckdb", "08-mysql"),
        "09-postgres-tables",
        "10-lake-on-s3",
        "11-duckdb-tables",
        "12-writing-by-key",
        "13-subscription-rules",
        "14-excel",
        "15-table-deliveries",
        "16-values-and-rules",
        "17-incremental",
    }


def test_the_quickstart_loads_a_year_of_flights_and_delivers_it(session: Session, tmp_path: Path) -> None:
    sample.write(tmp_path / "flights")
    session.put("exports", "flights", tmp_path / "flights")
    session.kubectl("apply", "-f", str(EXAMPLES / "01-quickstart"))
    kinds = {
        "source": "flights",
        "destination": "lake",
        "dataset": "flights",
        "pipeline": "flights",
        "subscription": "delays",
    }
    for kind, name in kinds.items():
        session.wait(kind, name, "Ready")

    run = session.last_run("pipeline", "flights", "nonce/first")
    assert run["state"] == "Succeeded", run
    assert run["rowsRead"] == FLIGHTS == run["rowsLoaded"] + run["rowsQuarantined"]
    assert run["rowsQuarantined"] == 67

    session.wait("subscription", "delays", "LastRunSucceeded")
    delivered = session.get("subscription", "delays")["status"]["deliveries"][0]
    assert delivered["rows"] == run["rowsLoaded"]
    rows = [row for file in sorted(session.fetch("outbox", "delays").rglob("*.csv.gz")) for row in _csv(file)]
    assert len(rows) == run["rowsLoaded"]
    assert list(rows[0]) == ["date", "carrier", "from", "to", "delay_minutes"]

    session.until_rows("flights", run["rowsLoaded"])


def test_s3_reads_a_bucket_and_delivers_into_one(session: Session, tmp_path: Path) -> None:
    with s3.serve(tmp_path / "buckets", session.cluster.place) as server:
        shutil.copytree(EXAMPLES / "02-s3" / "data", server.bucket("shop") / "orders")
        partner = server.bucket("partner")
        keys = (f"--from-literal=access_key_id={s3.ACCESS}", f"--from-literal=secret_access_key={s3.SECRET}")
        session.kubectl("create", "secret", "generic", "shop-s3", *keys)
        manifests = (EXAMPLES / "02-s3" / "orders.yaml").read_text()
        session.kubectl("apply", "-f", "-", stdin=manifests.replace("http://127.0.0.1:9000", server.endpoint))
        run = session.last_run("pipeline", "orders", "nonce/first")
        assert run["state"] == "Succeeded", run
        assert run["rowsRead"] == run["rowsLoaded"] + run["rowsQuarantined"]
        session.wait("subscription", "orders", "LastRunSucceeded")
        [delivered] = (partner / "orders").glob("*.parquet")
        assert pyarrow.parquet.read_table(delivered).num_rows == run["rowsLoaded"]
        assert s3.SECRET not in session.kubectl("get", "penstock,jobs,configmaps,events,pods", "-o", "yaml")


def test_json_lines_replace_a_snapshot(session: Session) -> None:
    session.put("readings", "in", EXAMPLES / "03-json-lines" / "data")
    session.kubectl("apply", "-f", str(EXAMPLES / "03-json-lines"))
    first = session.last_run("pipeline", "readings", "nonce/first")
    assert first["state"] == "Succeeded", first
    session.wait("subscription", "readings", "LastRunSucceeded")

    session.kubectl("patch", "pipeline", "readings", "--type=merge", "-p", '{"spec":{"runNonce":"second"}}')
    second = session.last_run("pipeline", "readings", "nonce/second")
    assert second["rowsLoaded"] == first["rowsLoaded"] == second["rowsReplaced"]
    session.until_rows("readings", first["rowsLoaded"])

    def deliveries() -> list[dict[str, Any]] | None:
        made: list[dict[str, Any]] = session.get("subscription", "readings")["status"]["deliveries"]
        return made if len(made) == 2 else None

    assert [each["rows"] for each in session.until(deliveries, "each load is delivered")] == [first["rowsLoaded"]] * 2
    delivered = sorted(session.fetch("readings", "out").rglob("*.json*"))
    lines = [line for file in delivered if "manifest" not in file.name for line in file.read_text().splitlines()]
    assert len([json.loads(line) for line in lines]) == 2 * first["rowsLoaded"]


def test_a_sheet_of_a_workbook_is_loaded(session: Session) -> None:
    session.put("budget", "in", EXAMPLES / "14-excel" / "data")
    session.kubectl("apply", "-f", str(EXAMPLES / "14-excel"))
    run = session.last_run("pipeline", "budget", "nonce/first")
    assert run["state"] == "Succeeded", run
    assert [run.get(name) for name in ("rowsRead", "rowsLoaded", "rowsQuarantined")] == [5, 3, 2]
    session.until_rows("budget", 3)


def test_customers_are_written_by_key(session: Session) -> None:
    session.put("customers", "in", EXAMPLES / "12-writing-by-key" / "data")
    session.kubectl("apply", "-f", str(EXAMPLES / "12-writing-by-key"))
    run = session.last_run("pipeline", "customers", "nonce/first")
    assert run["state"] == "Succeeded", run
    counts = [run.get(name) for name in ("rowsRead", "rowsLoaded", "rowsSuperseded", "rowsQuarantined")]
    assert counts == [7, 4, 2, 1]
    session.until_rows("customers", 4)


def test_texts_become_values_and_rules_choose_rows(session: Session) -> None:
    session.put("payments", "in", EXAMPLES / "16-values-and-rules" / "data")
    session.kubectl("apply", "-f", str(EXAMPLES / "16-values-and-rules"))
    run = session.last_run("pipeline", "payments", "nonce/first")
    assert run["state"] == "Succeeded", run
    assert [run[name] for name in ("rowsRead", "rowsLoaded", "rowsQuarantined")] == [6, 3, 3]
    session.until_rows("payments", 3)
    said = (
        "3 of 6 rows (50.00%) are in quarantine; up to 50% are allowed; 1 loaded row breaks the rule unusual-amount, "
        "first in file:///volumes/payments/in/payments-2026-07.csv:2"
    )
    session.until(lambda: session.condition("dataset", "payments", "QualityOK")["message"] == said, said)


def _penstock(session: Session, *arguments: str) -> str:
    """The output of one of our commands."""
    command = [sys.executable, "-m", "penstock", *arguments, "-n", session.namespace]
    environment = {**os.environ, "KUBECONFIG": str(session.cluster.kubeconfig)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_the_rules_of_a_subscription_choose_rows_and_fields(session: Session) -> None:
    session.put("orders", "in", EXAMPLES / "13-subscription-rules" / "data")
    session.kubectl("apply", "-f", str(EXAMPLES / "13-subscription-rules"))
    session.wait("subscription", "orders-partner", "LastRunSucceeded")
    [delivered] = session.get("subscription", "orders-partner")["status"]["deliveries"]
    assert delivered["rows"] == 2
    [file] = session.fetch("orders", "partner").rglob("*.csv")
    assert file.read_text() == "ordered,country,price,customer\n2026-01-05,NO,19.90,ann\n2026-01-08,SE,75.00,dag\n"
    status = session.get("subscription", "orders-partner")["status"]
    conditions = {each["type"]: each for each in status["conditions"]}
    assert {kind: conditions[kind]["status"] for kind in ("AccessGranted", "WithinBudget")} == {
        "AccessGranted": "True",
        "WithinBudget": "True",
    }
    assert (status["phase"], status["spend"]["amount"], delivered["cost"]) == ("Active", "0.20", "0.20")
    assert status["schema"][2] == {"name": "price", "type": "decimal(10,2)"}
    assert b"example.com" not in b"".join(each.read_bytes() for each in session.fetch("orders", "partner").rglob("*.*"))

    forecast = _penstock(session, "forecast", "orders-partner")
    assert forecast.startswith("orders-partner: 2 rows, about ")
    assert forecast.endswith("0.20 EUR; 0.10 EUR of the budget are left, so nothing would be delivered")
    shown = _penstock(session, "preview", "subscription/orders-partner")
    assert shown.startswith("orders-partner would deliver 2 rows")
    assert "example.com" not in shown
    [_, line] = _penstock(session, "deliveries", "orders-partner").splitlines()
    assert line.split("\t")[1:5] == ["2", f"{delivered['bytes']} bytes", "1", "0.20"]

    session.kubectl("patch", "subscription", "orders-partner", "--type=merge", "-p", '{"spec": {"runNonce": "again"}}')
    session.wait("subscription", "orders-partner", "WithinBudget=False")
    status = session.get("subscription", "orders-partner")["status"]
    assert (status["spend"]["amount"], len(status["deliveries"])) == ("0.20", 1)

    narrowed = '{"spec": {"access": {"fields": ["ordered", "country", "amount"]}}}'
    session.kubectl("patch", "dataset", "orders", "--type=merge", "-p", narrowed)
    session.wait("subscription", "orders-partner", "AccessGranted=False")
    [denied] = [
        each
        for each in session.get("subscription", "orders-partner")["status"]["conditions"]
        if each["type"] == "AccessGranted"
    ]
    assert denied["reason"] == "AccessDenied"
    assert 'access.fields of Dataset orders does not offer the field "customer"' in denied["message"]


def test_a_second_run_reads_what_is_new_by_the_cursor(session: Session, tmp_path: Path) -> None:
    data = EXAMPLES / "17-incremental" / "data"
    (tmp_path / "data").mkdir()

    def put(script: str) -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "data/tickets.db")) as database:
            database.executescript((data / script).read_text(encoding="utf-8"))
        session.put("tickets", "data", tmp_path / "data")

    put("tickets.sql")
    session.kubectl("apply", "-f", str(EXAMPLES / "17-incremental"))
    first = session.last_run("pipeline", "tickets", "nonce/first")
    assert (first["state"], first["rowsRead"], first["rowsLoaded"]) == ("Succeeded", 3, 3), first
    put("later.sql")
    session.kubectl("patch", "pipeline", "tickets", "--type=merge", "-p", '{"spec":{"runNonce":"second"}}')
    second = session.last_run("pipeline", "tickets", "nonce/second")
    assert [second[name] for name in ("rowsRead", "rowsLoaded", "rowsUnchanged")] == [3, 2, 1]

    def moved() -> bool:
        [dataset] = session.get("pipeline", "tickets")["status"]["datasets"]
        return bool(dataset.get("cursor") == "2026-03-03 11:45:00")

    session.until(moved, "the cursor of the second run")


def test_sqlite_reads_a_table_and_a_query_of_one_moment(session: Session, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "data/shop.db")) as database:
        database.executescript((EXAMPLES / "04-sqlite" / "data" / "shop.sql").read_text(encoding="utf-8"))
    session.put("shop", "data", tmp_path / "data")
    session.kubectl("apply", "-f", str(EXAMPLES / "04-sqlite"))
    run = session.last_run("pipeline", "shop", "nonce/first")
    assert run["state"] == "Succeeded", run
    assert (run["rowsRead"], run["rowsLoaded"], run["rowsQuarantined"]) == (10, 7, 3)
    session.until_rows("shop-orders", 4)
    session.until_rows("shop-countries", 3)
    session.wait("source", "shop", "Discovered")
    streams = session.get("source", "shop")["status"]["streams"]
    assert [(stream["name"], stream["fields"]) for stream in streams] == [("orders", 4), ("countries", 2)]


def test_mysql_reads_a_table(session: Session, tmp_path: Path) -> None:
    with mysql.serve(tmp_path / "mariadb", session.cluster.place) as server:
        server.database("shop")
        script = (EXAMPLES / "08-mysql" / "data" / "shop.sql").read_text(encoding="utf-8")
        server.execute(*filter(str.strip, script.split(";\n")), database="shop")
        keys = (f"--from-literal=username={mysql.USER}", f"--from-literal=password={mysql.PASSWORD}")
        session.kubectl("create", "secret", "generic", "mysql-shop", *keys)
        manifests = (EXAMPLES / "08-mysql" / "shop.yaml").read_text(encoding="utf-8")
        place = f"host: {server.host}, port: {server.port}"
        session.kubectl("apply", "-f", "-", stdin=manifests.replace("host: 127.0.0.1, port: 3306", place))
        run = session.last_run("pipeline", "mysql-shop", "nonce/first")
        assert run["state"] == "Succeeded", run
        assert (run["rowsRead"], run["rowsLoaded"], run["rowsQuarantined"]) == (3, 2, 1)
        session.until_rows("mysql-orders", 2)
        assert mysql.PASSWORD not in session.kubectl("get", "penstock,jobs,configmaps,events,pods", "-o", "yaml")


def test_postgres_reads_a_table_and_a_query_in_one_snapshot(session: Session) -> None:
    _require_postgres(session)
    example = EXAMPLES / "05-postgres"
    with postgres.serve(session.cluster.place) as server:
        server.database("shop", (example / "data/shop.sql").read_text(encoding="utf-8"))
        _create_login(session, "pgshop-reader", "reporting")
        manifests = (example / "shop.yaml").read_text(encoding="utf-8")
        session.kubectl("apply", "-f", "-", stdin=_reaching(server, manifests))
        run = session.last_run("pipeline", "pgshop", "nonce/first")
        assert run["state"] == "Succeeded", run
        assert (run["rowsRead"], run["rowsLoaded"], run["rowsQuarantined"]) == (7, 6, 1)
        session.until_rows("pgshop-orders", 3)
        session.until_rows("pgshop-totals", 3)
        session.wait("source", "pgshop", "Discovered")
        streams = session.get("source", "pgshop")["status"]["streams"]
        assert [(stream["name"], stream["fields"]) for stream in streams] == [("sales.orders", 7), ("totals", 2)]
        everything = session.kubectl("get", "penstock,jobs,configmaps,events,pods", "-o", "yaml")
        assert "change-me-in-production" not in everything


def test_postgres_holds_a_table_that_files_are_loaded_into(session: Session) -> None:
    _require_postgres(session)
    example = EXAMPLES / "09-postgres-tables"
    with postgres.serve(session.cluster.place) as server:
        server.database("logistics", (example / "data/logistics.sql").read_text(encoding="utf-8"))
        _create_login(session, "logistics-writer", "loader")
        session.put("parcels", "in", example / "data")
        manifests = (example / "parcels.yaml").read_text(encoding="utf-8")
        session.kubectl("apply", "-f", "-", stdin=_reaching(server, manifests))
        run = session.last_run("pipeline", "parcels", "nonce/first")
        assert run["state"] == "Succeeded", run
        assert (run["rowsRead"], run["rowsLoaded"], run["rowsQuarantined"]) == (8, 5, 3)
        session.until_rows("parcels", 5)
        session.wait("destination", "logistics", "Reachable")
        cities = server.rows("SELECT city FROM tracking.parcels ORDER BY parcel", "logistics")
        assert [city for (city,) in cities] == ["Lyon", "Porto", "Malmö", "Gent", 'San "Sebastián", Donostia']
        reasons = server.rows("SELECT reason FROM tracking.parcels_quarantine", "logistics")
        assert sorted(reason for (reason,) in reasons) == ["NoValue", "WrongType", "WrongType"]
        dataset = session.get("dataset", "parcels")["status"]
        assert (dataset["table"], dataset["quarantinedRows"]) == ("tracking.parcels", 3)
        everything = session.kubectl("get", "penstock,jobs,configmaps,events,pods", "-o", "yaml")
        assert "change-me-in-production" not in everything


def test_a_lake_on_s3_has_its_catalog_in_postgres(session: Session, tmp_path: Path) -> None:
    _require_postgres(session)
    example = EXAMPLES / "10-lake-on-s3"
    with (
        s3.serve(tmp_path / "buckets", session.cluster.place) as server,
        postgres.serve(session.cluster.place) as database,
    ):
        shutil.copytree(example / "data", server.bucket("shop") / "orders")
        server.bucket("lake")
        database.database("catalog")
        role = "CREATE ROLE catalog LOGIN PASSWORD 'change-me-in-production'"
        database.execute(role, "GRANT CREATE ON SCHEMA public TO catalog", database="catalog")
        keys = (f"--from-literal=access_key_id={s3.ACCESS}", f"--from-literal=secret_access_key={s3.SECRET}")
        session.kubectl("create", "secret", "generic", "lake-s3", *keys)
        _create_login(session, "lake-catalog", "catalog")
        manifests = (example / "orders.yaml").read_text(encoding="utf-8")
        manifests = manifests.replace("http://127.0.0.1:9000", server.endpoint)
        session.kubectl("apply", "-f", "-", stdin=_reaching(database, manifests))
        run = session.last_run("pipeline", "lake-orders", "nonce/first")
        assert run["state"] == "Succeeded", run
        assert (run["rowsRead"], run["rowsLoaded"], run["rowsQuarantined"]) == (9, 5, 4)
        session.until_rows("lake-orders", 5)
        session.wait("destination", "s3-lake", "Reachable")
        address = f"{database.host}:{database.port}"
        catalog = SqlCatalog(
            "penstock",
            uri=f"postgresql+psycopg://catalog:change-me-in-production@{address}/catalog",
            **{
                "s3.endpoint": server.endpoint,
                "s3.access-key-id": s3.ACCESS,
                "s3.secret-access-key": s3.SECRET,
                "s3.region": "us-east-1",
            },
        )
        assert catalog.load_table("main.orders").scan().to_arrow().num_rows == 5
        catalog.close()
        everything = session.kubectl("get", "penstock,jobs,configmaps,events,pods", "-o", "yaml")
        assert s3.SECRET not in everything
        assert "change-me-in-production" not in everything


def test_duckdb_reads_a_table_and_a_query_of_one_moment(session: Session, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with duckdb.connect(tmp_path / "data/weather.duckdb") as database:
        database.execute((EXAMPLES / "07-duckdb" / "data" / "weather.sql").read_text(encoding="utf-8"))
    session.put("weather", "data", tmp_path / "data")
    session.kubectl("apply", "-f", str(EXAMPLES / "07-duckdb"))
    run = session.last_run("pipeline", "weather", "nonce/first")
    assert run["state"] == "Succeeded", run
    assert (run["rowsRead"], run["rowsLoaded"], run["rowsQuarantined"]) == (8, 6, 2)
    session.until_rows("weather-readings", 4)
    session.until_rows("weather-countries", 2)
    session.wait("source", "weather", "Discovered")
    streams = session.get("source", "weather")["status"]["streams"]
    assert [(stream["name"], stream["fields"]) for stream in streams] == [("readings", 5), ("countries", 2)]


def test_duckdb_tables_are_loaded_and_delivered(session: Session) -> None:
    session.put("meters", "in", EXAMPLES / "11-duckdb-tables" / "data")
    session.kubectl("apply", "-f", str(EXAMPLES / "11-duckdb-tables"))
    run = session.last_run("pipeline", "meters", "nonce/first")
    assert run["state"] == "Succeeded", run
    assert (run["rowsRead"], run["rowsLoaded"], run["rowsQuarantined"]) == (8, 5, 3)
    session.wait("subscription", "meter-readings", "LastRunSucceeded")
    [delivered] = session.fetch("meters", "partner").rglob("*.parquet")
    assert pyarrow.parquet.read_table(delivered).num_rows == 5
    with duckdb.connect(session.fetch("meters", "analysis") / "meters.duckdb") as database:
        assert database.sql("SELECT sum(kwh) FROM readings").fetchall() == [(Decimal("52831.850"),)]


def test_nested_makes_a_row_of_each_line_of_an_order(session: Session) -> None:
    session.put("orders", "in", EXAMPLES / "06-nested" / "data")
    session.kubectl("apply", "-f", str(EXAMPLES / "06-nested"))
    run = session.last_run("pipeline", "order-lines", "nonce/first")
    assert run["state"] == "Succeeded", run
    assert (run["rowsRead"], run["rowsLoaded"], run["rowsQuarantined"]) == (8, 4, 4)
    session.wait("subscription", "order-lines", "LastRunSucceeded")
    delivered = [file for file in session.fetch("orders", "out").rglob("*.json*") if "manifest" not in file.name]
    rows = [json.loads(line) for file in delivered for line in file.read_text(encoding="utf-8").splitlines()]
    found = {row["label"]: (row["country"], row["quantity"], row["discount"]) for row in rows}
    assert found == {
        "A-1001/BOLT-8": ("FR", 40, "BULK"),
        "A-1001/NUT-8": ("FR", 40, None),
        "A-1003/TAPE": ("FI", 3, None),
        "A-1005/BOLT-8": ("DE", 100, "BULK"),
    }


def test_tables_are_delivered_into(session: Session, tmp_path: Path) -> None:
    _require_postgres(session)
    example = EXAMPLES / "15-table-deliveries"
    with postgres.serve(session.cluster.place) as server:
        server.database("helpdesk", (example / "data/helpdesk.sql").read_text(encoding="utf-8"))
        _create_login(session, "helpdesk-writer", "deliverer")
        session.put("tickets", "in", example / "data")
        manifests = _reaching(server, (example / "tickets.yaml").read_text(encoding="utf-8"))
        session.kubectl("apply", "-f", "-", stdin=manifests)
        for name in ("tickets-for-support", "tickets-for-analysis"):
            session.wait("subscription", name, "LastRunSucceeded")
        [delivery] = session.get("subscription", "tickets-for-support")["status"]["deliveries"]
        assert (delivery["rows"], delivery["table"], "manifest" in delivery) == (4, "support.tickets", False)
        query = "SELECT id, title FROM support.tickets ORDER BY id"
        assert server.rows(query, "helpdesk")[1] == (502, '"Save" does nothing')
        session.kubectl("apply", "-f", "-", stdin=manifests.replace("as: title}", "as: about}"))
        patch = json.dumps({"spec": {"runNonce": "again"}})
        session.kubectl("patch", "subscription", "tickets-for-support", "--type=merge", "-p", patch)
        session.last_run("subscription", "tickets-for-support", "nonce/again")
        readable = "SELECT count(about), bool_and(has_table_privilege('support', 'support.tickets', 'SELECT'))"
        assert server.rows(f"{readable} FROM support.tickets", "helpdesk") == [(4, True)]
    session.fetch("tickets", "analysis.duckdb").replace(tmp_path / "analysis.duckdb")
    with duckdb.connect(tmp_path / "analysis.duckdb", read_only=True) as database:
        assert database.sql("SELECT ticket, hours FROM tickets ORDER BY 1").fetchall()[0] == (501, Decimal("0.50"))
        assert len(database.sql("FROM tickets").columns) == 4


def _require_postgres(session: Session) -> None:
    if session.cluster.place.enter:
        pytest.skip("the wheel's PostgreSQL, which must not run as root, cannot enter the network of a node")


def _create_login(session: Session, name: str, user: str) -> None:
    """The Secret with the login that the examples tell people to change."""
    keys = (f"--from-literal=username={user}", "--from-literal=password=change-me-in-production")
    session.kubectl("create", "secret", "generic", name, *keys)


def _reaching(server: postgres.Server, manifests: str) -> str:
    """The manifests with the address of this server in the place of the example's."""
    return manifests.replace("host: 127.0.0.1", f"host: {server.host}").replace("5432", str(server.port))


def _csv(file: Path) -> list[dict[str, str]]:
    with gzip.open(file, "rt", newline="") as text:
        return list(csv.DictReader(text))
