"""PostgreSQL as a TableStore, against a real server: what only it can do, and what goes wrong there."""

import base64
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from connectors.contract import proxy, worker
from connectors.systems import postgres as systems
from penstock.connectors.postgres import staging
from penstock.language.errors import NotYet, PenstockError
from penstock.runs import report as reports
from penstock.runs.order import DatasetOrder, DestinationOrder
from penstock.runs.report import Counts, DatasetReport, RunReport
from penstock.worker.connectors import Connectors
from penstock.worker.pod import here
from penstock.worker.ports.ledger import Attempt
from penstock.worker.ports.tablestore import Publication, TableStore
from worker.pods import Json, a_pod, field, secret


class Files:
    """A Pod that loads CSV files into a table of PostgreSQL."""

    def __init__(self, root: Path, *fields: Json, **dataset: Any) -> None:
        self.tables = systems.Tables(root)
        self.pod = a_pod(root, *(fields or (field("id", "long", required=True), field("word", "string"))))
        destination = {"name": "store", "connector": {"postgres": self.tables.connector}, "auth": self.tables.auth}
        self.pod.dataset = {"destination": destination, **dataset}
        for name, keys in self.tables.secrets.items():
            secret(self.pod, name, **keys)

    def put(self, name: str, content: bytes) -> None:
        """Write a file as a whole."""
        (self.pod.data / name).write_bytes(content)

    def rows(self, suffix: str = "") -> list[Json]:
        """The rows of the table, or of its quarantine."""
        return self.tables.rows(f"things{suffix}")

    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.rows())

    def execute(self, *statements: str) -> None:
        """As the administrator, with the schema as search path."""
        self.tables.execute(f'SET search_path = "{self.tables.schema}"; ' + "; ".join(statements))

    def store(self) -> TableStore:
        order = self.pod.order()["datasets"][0]["destination"]
        return Connectors().store_of(DestinationOrder.model_validate(order), here(self.pod.environment("r")))


@contextmanager
def staged(there: Files, run_id: str = "r1", step: str = "staged") -> Iterator[Callable[[], RunReport]]:
    """A worker that waits at a step, by default with everything staged; the function lets it continue."""
    folder = there.pod.root / "step"
    folder.mkdir()
    there.pod.prepare()
    more = {worker.STEP: step, worker.ACTION: f"wait {folder}", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "connectors.contract.worker"]
    with subprocess.Popen(
        command, env=there.pod.environment(run_id, **more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:

        def continued() -> RunReport:
            (folder / "go").touch()
            output, _ = process.communicate(timeout=120)
            return reports.with_details(there.pod.report(run_id), output.decode())

        try:
            while not (folder / "waiting").exists():
                assert process.poll() is None
                time.sleep(0.02)
            yield continued
        finally:
            process.kill()


def refused(report: RunReport) -> tuple[str | None, str]:
    assert report.state == "Failed"
    return report.reason, report.message or ""


def test_a_line_with_a_character_that_no_text_can_have_is_kept_whole(tmp_path: Path) -> None:
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n2,a\x00b\n3,\xc3\xa4\n4\x00,x\n")
    report = there.pod.work()
    assert report.state == "Succeeded", report.message
    assert there.ids() == [1, 3]
    first, second = sorted(there.rows("_quarantine"), key=lambda row: row["position"])
    assert (first["payload_encoding"], base64.b64decode(first["payload"])) == ("base64", b"2,a\x00b")
    assert (second["payload_encoding"], base64.b64decode(second["payload"])) == ("base64", b"4\x00,x")
    assert [entry["complete"] for entry in (first, second)] == [True, True]


def test_a_file_that_has_changed_replaces_its_rows_and_no_others(tmp_path: Path) -> None:
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n2,b\nbad,x\n")
    there.put("2.csv", b"id,word\n3,c\n")
    assert there.pod.work("r1").state == "Succeeded"
    there.execute("INSERT INTO things (id, word) VALUES (99, 'of another program')")
    there.put("1.csv", b"id,word\n1,a\n4,d\n")
    counts = there.pod.work("r2").datasets[0].counts
    assert (counts.loaded, counts.replaced) == (2, 2)
    assert (there.ids(), there.rows("_quarantine")) == ([1, 3, 4, 99], [])


def test_a_table_that_somebody_has_altered_is_named_and_heals(tmp_path: Path) -> None:
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n")
    assert there.pod.work("r1").state == "Succeeded"
    there.put("2.csv", b"id,word\n2,b\n")
    alterations = {
        "ALTER TABLE things ALTER word TYPE varchar(3)": "ALTER TABLE things ALTER word TYPE text",
        "ALTER TABLE things ADD extra int": "ALTER TABLE things DROP extra",
        "ALTER TABLE things ALTER id DROP NOT NULL": "ALTER TABLE things ALTER id SET NOT NULL",
    }
    for alter, restore in alterations.items():
        there.execute(alter)
        reason, message = refused(there.pod.work("r2"))
        assert (reason, "table things differs from the schema" in message) == ("SchemaChanged", True), message
        there.execute(restore)
    assert there.pod.work("r2").state == "Succeeded"
    assert there.ids() == [1, 2]


def test_a_table_altered_during_a_load_commits_nothing(tmp_path: Path) -> None:
    """The columns are checked again under a lock of the commit: no value is cast to another type."""
    there = Files(tmp_path, field("id", "long"), field("amount", "decimal(10,2)"))
    there.put("0.csv", b"id,amount\n0,0.50\n")
    assert there.pod.work("r0").state == "Succeeded"
    before = there.rows()
    there.put("1.csv", b"id,amount\n1,1.25\n")
    with staged(there) as go:
        there.execute("ALTER TABLE things ALTER amount TYPE numeric(10,1)")
        report = go()
    assert refused(report)[0] == "SchemaChanged"
    assert (there.rows(), len(there.store().ledger.inputs("demo/things"))) == (before, 1)


def test_an_empty_table_altered_during_a_load_commits_nothing(tmp_path: Path) -> None:
    there = Files(tmp_path, field("id", "long"), field("amount", "decimal(10,2)"))
    there.put("1.csv", b"id,amount\n1,1.25\n")
    with staged(there) as go:
        there.execute("ALTER TABLE things ALTER amount TYPE numeric(10,1)")
        report = go()
    reason, message = refused(report)
    assert (reason, "another program has changed the table" in message) == ("DatasetNotReady", True), message
    assert (there.rows(), there.store().ledger.inputs("demo/things")) == ([], [])


def test_what_a_trigger_swallows_is_no_load(tmp_path: Path) -> None:
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n2,b\n")
    with staged(there) as go:
        there.execute(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE TRIGGER swallow BEFORE INSERT ON things FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION swallow()",
        )
        reason, message = refused(go())
    assert (reason, "Look for a trigger" in message) == ("CountMismatch", True), message
    assert (there.rows(), there.tables.staged()) == ([], 0)
    there.execute("DROP TRIGGER swallow ON things")
    assert there.pod.work("r1").state == "Succeeded"
    assert there.ids() == [1, 2]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("ALTER TABLE things RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO things", "ResourceNotFound"),
        ("ALTER TABLE things ADD UNIQUE (word)", "ALTER TABLE things DROP CONSTRAINT things_word_key",
         "WrongSpecification"),
        ("ALTER TABLE things OWNER TO postgres; REVOKE ALL ON things FROM PUBLIC", "ALTER TABLE things OWNER TO {user}",
         "WrongCredentials"),
    ],
)  # fmt: skip
def test_what_happens_to_the_table_during_a_load_is_said_and_heals(
    before: str, after: str, reason: str, tmp_path: Path
) -> None:
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n2,a\n")
    with staged(there) as go:
        there.execute(before)
        said = refused(go())
    assert said[0] == reason, said
    there.execute(after.format(user=there.tables.user))
    assert there.pod.work("r1").state == "Succeeded"
    assert there.ids() == [1, 2]


def test_a_user_without_permission_loads_nothing_until_it_is_granted(tmp_path: Path) -> None:
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n")
    schema, user = there.tables.schema, there.tables.user
    there.execute(f'REVOKE CREATE ON SCHEMA "{schema}" FROM {user}')
    reason, message = refused(there.pod.work())
    assert (reason, "permission denied for schema Stock" in message) == ("WrongCredentials", True), message
    there.execute(f'GRANT CREATE ON SCHEMA "{schema}" TO {user}')
    assert there.pod.work().state == "Succeeded"


def test_a_table_of_nobody_is_not_taken_over(tmp_path: Path) -> None:
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n")
    for form in ("TABLE things (id bigint)", "VIEW things AS SELECT 1 AS id"):
        there.execute(f"CREATE {form}")
        reason, message = refused(there.pod.work())
        assert reason == "TableConflict", message
        there.execute(f"DROP {form.split(' (')[0].split(' AS')[0]}")
    assert there.pod.work().state == "Succeeded"


def test_readers_see_the_old_rows_until_the_commit(tmp_path: Path) -> None:
    there = Files(tmp_path, writeMode="replace", sync="full")
    there.put("1.csv", b"id,word\n1,a\n")
    assert there.pod.work("r1").state == "Succeeded"
    there.put("1.csv", b"id,word\n2,b\n")
    with there.tables.server.connect(there.tables.database) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        query = f'SELECT id FROM "{there.tables.schema}".things'.encode()
        assert connection.execute(query).fetchall() == [(1,)]
        assert there.pod.work("r2").state == "Succeeded"
        assert connection.execute(query).fetchall() == [(1,)]
        connection.execute("COMMIT")
        assert connection.execute(query).fetchall() == [(2,)]


def test_what_a_load_left_is_read_again_until_rows_are_removed(tmp_path: Path) -> None:
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n")
    assert there.pod.work("r1").state == "Succeeded"
    dataset = DatasetOrder.model_validate(there.pod.order()["datasets"][0])
    first = there.store().scan(dataset, ["id"])
    assert first.rows.read_all().to_pydict() == {"id": [1]}
    there.put("2.csv", b"id,word\n2,b\n")
    assert there.pod.work("r2").state == "Succeeded"
    again = there.store().scan(dataset, ["id"], first.snapshot)
    assert (again.total, again.rows.read_all().to_pydict()) == (1, {"id": [1]})
    there.put("1.csv", b"id,word\n3,c\n")
    assert there.pod.work("r3").state == "Succeeded"
    with pytest.raises(NotYet) as gone:
        there.store().scan(dataset, ["id"], first.snapshot)
    assert gone.value.reason == "DatasetNotReady"


def test_a_value_of_another_program_that_no_field_holds_is_said(tmp_path: Path) -> None:
    there = Files(tmp_path, field("id", "long"), field("day", "date"))
    there.put("1.csv", b"id,day\n1,2026-01-01\n")
    assert there.pod.work("r1").state == "Succeeded"
    there.execute("INSERT INTO things (id, day) VALUES (2, 'infinity')")
    dataset = DatasetOrder.model_validate(there.pod.order()["datasets"][0])
    assert there.store().scan(dataset, ["id"]).rows.read_all().num_rows == 2
    with pytest.raises(PenstockError, match="column day has a value that no field of its type holds"):
        there.store().scan(dataset, ["day"]).rows.read_all()


def test_staging_tables_that_nobody_claims_are_dropped_after_a_day(tmp_path: Path) -> None:
    """Those of a Dataset that never runs again; those of another Dataset's live run stay."""
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n")
    assert there.pod.work("r1").state == "Succeeded"
    leases = {"demo/live": "extract(epoch FROM now()) + 60", "demo/dead": "extract(epoch FROM now()) - 90000"}
    for subject, expires in leases.items():
        there.execute(
            f"CREATE UNLOGGED TABLE {staging.names(subject, 7)[0]} (a int)",
            f"CREATE UNLOGGED TABLE {staging.names(subject, 6)[0]} (a int)",
            f"ALTER TABLE {staging.names(subject, 7)[0]} OWNER TO {there.tables.user}",
            f"ALTER TABLE {staging.names(subject, 6)[0]} OWNER TO {there.tables.user}",
            f"INSERT INTO penstock_leases VALUES ('{subject}', 'r', 7, 'w', {expires})",
        )
    there.put("2.csv", b"id,word\n2,a\n")
    assert there.pod.work("r2").state == "Succeeded"
    left = f"SELECT tablename FROM pg_tables WHERE tablename LIKE '{staging.PREFIX}%'"
    assert there.tables.server.rows(left, there.tables.database) == [(staging.names("demo/live", 7)[0],)]


def test_a_full_disk_is_said_and_heals(tmp_path: Path) -> None:
    """The server's word for it, 53100, raised by a trigger where a disk would be full."""
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n")
    with staged(there) as go:
        there.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION USING ERRCODE = ''disk_full'', MESSAGE = ''could not extend file''; END'",
            "CREATE TRIGGER full_disk BEFORE INSERT ON things EXECUTE FUNCTION full_disk()",
        )
        reason, message = refused(go())
    assert (reason, "Free some space at the server" in message) == ("StorageFull", True), message
    assert (there.rows(), there.tables.staged()) == ([], 0)
    there.execute("DROP TRIGGER full_disk ON things")
    assert there.pod.work("r1").state == "Succeeded"
    assert there.ids() == [1]


def test_connections_that_are_cut_anywhere_leave_nothing_half_done(tmp_path: Path) -> None:
    """Every connection is reset after so many bytes from the server; more each time, until the run succeeds."""
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n" + b"".join(b"%d,%s\n" % (number, b"w" * 50) for number in range(2000)))
    cuts = 0
    with proxy.between((there.tables.server.host, there.tables.server.port)) as between:
        there.tables.reach_through("127.0.0.1", between.port)
        for number in range(40):
            between.cut_after = int(200 * 1.3**number)
            report = there.pod.work("r1")
            if report.state == "Succeeded":
                break
            assert report.reason in ("Unreachable", "LeaseHeld"), report.message
            assert there.ids() in ([], [*range(2000)])
            cuts += 1
        assert report.state == "Succeeded", report.message
    assert cuts > 5
    assert there.ids() == [*range(2000)]


def test_connections_do_not_grow_with_the_files(tmp_path: Path) -> None:
    """Small files share a Writer, and what the ledger asks goes over connections that are kept."""
    there = Files(tmp_path)
    waits = []
    with proxy.between((there.tables.server.host, there.tables.server.port)) as between:
        there.tables.reach_through("127.0.0.1", between.port)
        for run, files in (("r1", 1), ("r2", 40)):
            for number in range(files):
                there.put(f"{run}-{number}.csv", f"id,word\n{files * 1000 + number},a\n".encode())
            between.connections = 0
            assert there.pod.work(run).state == "Succeeded"
            waits.append(between.connections)
    assert max(waits) <= 8, waits
    assert len(there.ids()) == 41


def test_a_password_that_is_changed_at_the_server_is_asked_for_and_heals(tmp_path: Path) -> None:
    there = Files(tmp_path)
    there.put("1.csv", b"id,word\n1,a\n")
    assert there.pod.work("r1").state == "Succeeded"
    new = there.tables.rotate()
    there.put("2.csv", b"id,word\n2,a\n")
    reason, message = refused(there.pod.work("r2"))
    assert reason == "WrongCredentials"
    assert not any(value in message for keys in new.values() for value in keys.values())
    for name, keys in new.items():
        secret(there.pod, name, **keys)
    assert there.pod.work("r2").state == "Succeeded"
    assert there.ids() == [1, 2]


def test_rows_that_are_wider_than_a_page_are_refused_with_a_reason(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(1200)]
    there = Files(tmp_path, *(field(name, "double") for name in names))
    there.put("1.csv", (",".join(names) + "\n" + ",".join("0.5" for _ in names) + "\n").encode())
    reason, message = refused(there.pod.work())
    assert (reason, "row is too big" in message, "use fewer fields" in message) == ("WrongSpecification", True, True)
    assert (there.rows(), there.tables.staged()) == ([], 0)


def test_as_many_fields_as_are_allowed_are_loaded(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(1590)]
    there = Files(tmp_path, *(field(name, "int") for name in names))
    there.put("1.csv", (",".join(names) + "\n" + ",".join("1" for _ in names) + "\n").encode())
    report = there.pod.work()
    assert report.state == "Succeeded", report.message
    assert sum(value for name, value in there.rows()[0].items() if name in names) == 1590


def test_a_table_is_previewed_and_delivered_as_files(tmp_path: Path) -> None:
    """A delivery that is tried again delivers the load that it recorded, though another one has come since."""
    there = Files(tmp_path)
    pod = there.pod
    there.put("1.csv", b"id,word\n1,a\n2,b\nbad,c\n")
    assert pod.work("r1").state == "Succeeded"
    for quarantined in (False, True):
        more = {"preview": {"rows": 5, "quarantined": quarantined}, "source": None}
        assert pod.work("p1", kind="preview", more=more).datasets[0].rows == 2
    files = {"files": {"url": "file:///volumes/out/", "volume": {"claimName": "out"}, "format": {"csv": {}}}}
    delivery = {"delivery": {"destination": {"name": "partner", "connector": files}}, "source": None}
    there.pod.kind, there.pod.more = "deliver", delivery
    there.pod.prepare()
    with staged(there, "d1", "snapshot recorded") as go:
        there.put("2.csv", b"id,word\n3,c\n")
        assert pod.work("r2", kind="ingest", more=None).state == "Succeeded"
        report = go()
    assert report.state == "Succeeded", report.message
    [delivered] = pod.out.glob("*.csv*")
    assert sorted(delivered.read_text(encoding="utf-8").split()) == ["1,a", "2,b", "id,word"]


def test_random_values_are_the_same_in_the_table(tmp_path: Path) -> None:
    """What is encoded for COPY, against what PostgreSQL prints of it: fixed seed, 4,000 rows, nulls among them."""
    kinds = ["string", "boolean", "int", "long", "double", "decimal(38,0)", "decimal(38,38)", "decimal(20,7)",
             "decimal(4,1)", "date", "timestamp", "timestamptz"]  # fmt: skip
    there = Files(tmp_path, *(field(f"f{number}", kind) for number, kind in enumerate(kinds)))
    chance = random.Random(11)
    rows = [
        {f"f{number}": _random(chance, kind) if chance.random() > 0.1 else None for number, kind in enumerate(kinds)}
        for _ in range(4000)
    ]
    store = there.store()
    dataset = DatasetOrder.model_validate(there.pod.order()["datasets"][0])
    with store.claim(dataset, Attempt("r1", "worker")) as claim:
        store.ensure(dataset)
        writer = store.writer(claim, dataset, "00000")
        lineage = {"_penstock_load_id": claim.load_id, "_penstock_loaded_at": datetime(2026, 11, 27, tzinfo=UTC)}
        numbered = [{**row, **lineage, "_penstock_input_id": number} for number, row in enumerate(rows)]
        writer.write(pa.Table.from_pylist(numbered, writer.schema))
        report = DatasetReport(name="things", state="Written", counts=Counts(read=len(rows), loaded=len(rows)))
        store.publish(
            claim,
            Publication(
                dataset, "demo/load", "things", "append", (writer.close(),), (), (), state_before=None, state=None,
                report=report,
            ),
        )  # fmt: skip
    scanned = store.scan(dataset, [*rows[0], "_penstock_input_id"]).rows.read_all().to_pylist()
    for kept in (there.rows(), scanned):
        in_order = sorted(kept, key=lambda row: int(row["_penstock_input_id"]))
        assert [{name: row[name] for name in rows[0]} for row in in_order] == rows


def _random(chance: random.Random, kind: str) -> Any:
    """A value of a field's type, with small, large and negative ones about as often."""
    moment = datetime(1, 1, 1) + timedelta(microseconds=chance.randrange(int(315_537_897_599e6)))
    if kind.startswith("decimal"):
        precision, scale = (int(part) for part in kind[8:-1].split(","))
        with localcontext(prec=60):
            return Decimal(chance.choice((1, -1)) * chance.randrange(10 ** chance.randint(0, precision))).scaleb(-scale)
    makers: dict[str, Callable[[], Any]] = {
        "string": lambda: "".join(
            chr(chance.choice((9, 10, 13, 34, 39, 92, 127, 233, 0x2028, 0x1F600))) for _ in "abc"
        ),
        "boolean": lambda: chance.random() < 0.5,
        "int": lambda: chance.randrange(-(2**31), 2**31),
        "long": lambda: chance.randrange(-(2 ** chance.randint(1, 63)), 2 ** chance.randint(1, 63)),
        "double": lambda: chance.choice((chance.random(), chance.uniform(-1e300, 1e300), 5e-324, -0.0, 1e16)),
        "date": moment.date,
        "timestamp": lambda: moment,
        "timestamptz": lambda: moment.replace(tzinfo=UTC),
    }
    return makers[kind]()


def test_scans_of_one_delivery_have_the_same_order_whatever_other_programs_do(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.put("1.csv", b"id,word\n" + b"".join(b"%d,w\n" % number for number in range(1000)))
    assert files.pod.work("r1").state == "Succeeded"
    store, dataset = files.store(), DatasetOrder.model_validate(files.pod.order()["datasets"][0])

    def ids() -> list[int]:
        scan = store.scan(dataset, ["id"])
        return [row["id"] for batch in scan.rows for row in batch.to_pylist()]

    moved = "UPDATE things SET word = 'moved' WHERE id < 10"  # a row is written again, behind the others
    clustered = "CREATE INDEX by_word ON things (word, id); CLUSTER things USING by_word"
    assert store.scan(dataset, ["id"]).total == 1000, "and its connection is closed, though no row is read"
    with store.same_order(dataset):
        before = ids()
        files.execute(moved)
        assert ids() == before
        with pytest.raises(psycopg.errors.LockNotAvailable):
            files.execute("SET lock_timeout = '100ms'", clustered)
        waits = threading.Thread(target=files.execute, args=(clustered,))
        waits.start()
        while not files.tables.server.rows("SELECT 1 FROM pg_locks WHERE NOT granted", files.tables.database):
            time.sleep(0.02)
        with pytest.raises(NotYet) as given_up:  # instead of a wait for each other
            ids()
        assert given_up.value.reason == "Unreachable"
    waits.join()
    assert sorted(ids()) == before
