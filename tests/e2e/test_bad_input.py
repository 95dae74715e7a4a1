"""Bad input: a typed reason, a message that says what to change, nothing half-written, and healing by itself."""

import json
from pathlib import Path

import pytest

from support import manifests, s3
from support.clusters import Session
from support.manifests import GOOD, Manifest

MISSING: list[tuple[str, Manifest, list[Manifest], str, str]] = [
    (
        "pipeline",
        manifests.pipeline(),
        [manifests.lake(), manifests.dataset()],
        "SourceNotFound",
        "Source cities does not exist",
    ),
    (
        "pipeline",
        manifests.pipeline(),
        [manifests.source(), manifests.lake()],
        "DatasetNotFound",
        "Dataset cities does not exist",
    ),
    ("dataset", manifests.dataset(), [], "DestinationNotFound", "Destination lake does not exist"),
    (
        "dataset",
        manifests.dataset(destinationRef={"name": "outbox"}),
        [manifests.outbox()],
        "InvalidSpec",
        "which holds no tables",
    ),
    (
        "pipeline",
        manifests.pipeline(),
        [manifests.source(), manifests.lake(), manifests.dataset(writeMode="replace")],
        "InvalidSpec",
        "sync incremental goes with writeMode append",
    ),
    (
        "subscription",
        manifests.subscription(fields=[{"name": "citty"}]),
        [manifests.lake(), manifests.dataset(), manifests.outbox()],
        "InvalidSpec",
        "city",
    ),
]


@pytest.mark.parametrize(("kind", "manifest", "others", "reason", "words"), MISSING)
def test_what_a_spec_lacks_is_named(
    session: Session, kind: str, manifest: Manifest, others: list[Manifest], reason: str, words: str
) -> None:
    session.apply(*others, manifest)
    ready = session.until(
        lambda: (found := session.condition(kind, "cities", "Ready")).get("reason") == reason and found,
        f"Ready is False with {reason}",
    )
    assert words in ready["message"]


def test_a_missing_reference_heals_when_it_appears(session: Session) -> None:
    session.put("in", "a.csv", GOOD)
    session.apply(manifests.pipeline(), manifests.dataset())
    session.until(lambda: session.condition("pipeline", "cities", "Ready").get("status") == "False", "not ready")
    session.apply(manifests.source(), manifests.lake())
    assert session.last_run("pipeline", "cities", "nonce/1")["rowsLoaded"] == 3


def test_a_missing_file_is_told_and_read_once_it_is_there(session: Session) -> None:
    source = manifests.source(url="file:///volumes/in/a.csv")
    del source["spec"]["connector"]["files"]["glob"]
    session.apply(source, manifests.lake(), manifests.dataset(), manifests.pipeline())
    failed = session.last_run("pipeline", "cities", "nonce/1")
    assert (failed["state"], failed["reason"]) == ("Failed", "ResourceNotFound")
    assert "a.csv" in failed["message"]
    session.put("in", "a.csv", GOOD)
    session.until(
        lambda: session.get("pipeline", "cities")["status"]["lastRun"].get("rowsLoaded") == 3, "it heals by itself"
    )


def test_a_missing_claim_is_named_and_heals_when_it_appears(session: Session) -> None:
    source = manifests.source(url="file:///volumes/late/", volume={"claimName": "late"})
    session.kubectl("apply", "-f", "-", stdin=json.dumps(source))  # `session.apply` would make the claim
    told = session.until(
        lambda: (found := session.condition("source", "cities", "Discovered")).get("reason") == "Waiting" and found,
        "it says that a Pod waits",
    )
    assert told["status"] == "Unknown"
    assert 'persistentvolumeclaim "late" not found' in told["message"]
    session.put("late", "a.csv", GOOD)
    session.wait("source", "cities", "Discovered")


def test_a_missing_secret_is_named_and_heals(session: Session) -> None:
    source = manifests.of(
        "Source",
        "cities",
        {
            "connector": {
                "files": {"url": "s3://b/", "endpointUrl": "http://127.0.0.1:1", "format": {"csv": {}}},
            },
            "auth": {"aws": {"secretRef": {"name": "keys"}}},
        },
    )
    session.apply(source)
    told = session.until(
        lambda: (found := session.condition("source", "cities", "Reachable")).get("status") == "False" and found, "told"
    )
    assert told["reason"] == "SecretMissing"
    assert "keys" in told["message"]
    session.kubectl(
        "create", "secret", "generic", "keys", "--from-literal=access_key_id=a", "--from-literal=secret_access_key=hush"
    )
    told = session.until(
        lambda: (found := session.condition("source", "cities", "Reachable")).get("reason") == "Unreachable" and found,
        "the next attempt finds the Secret, and nobody who answers",
    )
    assert "hush" not in session.kubectl("get", "penstock,jobs,configmaps,events", "-o", "yaml")


def test_an_unreadable_file_fails_the_run_and_writes_nothing(session: Session) -> None:
    session.put("in", "a.csv", "id;city;amount\n1;Oslo;1.5\n")
    session.apply(manifests.source(), manifests.lake(), manifests.dataset(), manifests.pipeline())
    failed = session.last_run("pipeline", "cities", "nonce/1")
    assert (failed["state"], failed["reason"]) == ("Failed", "WrongSpecification")
    assert "a.csv" in failed["message"]
    assert session.get("dataset", "cities")["status"].get("rows", 0) == 0


def test_too_many_bad_rows_commit_nothing(session: Session) -> None:
    session.put("in", "a.csv", GOOD + "x,Oslo,1\n")
    dataset = manifests.dataset(quality={"maxBadRatio": "10%"})
    session.apply(manifests.source(), manifests.lake(), dataset, manifests.pipeline())
    failed = session.last_run("pipeline", "cities", "nonce/1")
    assert (failed["state"], failed["reason"]) == ("Failed", "TooManyBadRows")
    assert session.condition("dataset", "cities", "QualityOK")["status"] == "False"
    dataset["spec"]["quality"]["maxBadRatio"] = "50%"
    session.apply(dataset)
    session.until(
        lambda: session.get("pipeline", "cities")["status"]["lastRun"].get("rowsLoaded") == 3,
        "what it was ordered from has changed, so it is tried again",
    )


def test_where_every_row_is_bad_nothing_is_green_and_the_corrected_manifest_reads_the_same_files(
    session: Session,
) -> None:
    session.put("in", "a.csv", "id,city,amount\n1,Oslo,1.5\n2,Rome,2\n3,Lima,0\n")
    session.apply(manifests.source(format={"json": {}}), manifests.lake(), manifests.dataset(), manifests.pipeline())
    told = session.until(
        lambda: (found := session.condition("source", "cities", "Discovered")).get("status") == "False" and found,
        "Discovered is False",
    )
    assert told["reason"] == "WrongSpecification"
    failed = session.last_run("pipeline", "cities", "nonce/1")
    assert (failed["state"], failed["reason"]) == ("Failed", "TooManyBadRows")
    assert session.condition("dataset", "cities", "QualityOK")["reason"] == "TooManyBadRows"
    session.apply(manifests.source())
    session.until(
        lambda: session.get("pipeline", "cities")["status"]["lastRun"].get("rowsLoaded") == 3,
        "the files are read again, since nothing was committed",
    )


def test_an_expression_that_cannot_work_is_told_by_the_dataset_before_any_run(session: Session) -> None:
    fields = [{"name": "id", "type": "long", "from": "nosuchfunc(id)"}]
    session.apply(manifests.lake(), manifests.dataset(schema={"fields": fields}))
    told = session.until(
        lambda: (found := session.condition("dataset", "cities", "Ready")).get("reason") == "InvalidSpec" and found,
        "InvalidSpec",
    )
    assert "field id: the function nosuchfunc is not allowed" in told["message"]
    fields[0]["from"] = "abs(id::long)"
    session.apply(manifests.dataset(schema={"fields": fields}))
    session.wait("dataset", "cities", "Ready")


def test_of_two_subscriptions_into_one_folder_the_younger_waits_until_the_older_is_gone(session: Session) -> None:
    session.apply(manifests.lake(), manifests.dataset(), manifests.outbox(), manifests.subscription())
    session.wait("subscription", "cities", "Ready")
    session.apply(manifests.subscription("towns"))
    told = session.until(
        lambda: (
            (found := session.condition("subscription", "towns", "Ready")).get("reason") == "DeliveryConflict" and found
        ),
        "DeliveryConflict",
    )
    assert "Subscription cities delivers into the same folder" in told["message"]
    assert session.condition("subscription", "cities", "Ready")["status"] == "True"
    session.kubectl("delete", "subscription", "cities")
    session.wait("subscription", "towns", "Ready")


def test_a_table_of_another_dataset_is_refused(session: Session) -> None:
    session.apply(manifests.lake(), manifests.dataset())
    session.wait("dataset", "cities", "Ready")
    session.apply(manifests.dataset("thief", table="cities"))
    told = session.until(
        lambda: (found := session.condition("dataset", "thief", "Ready")).get("reason") == "TableConflict" and found,
        "TableConflict",
    )
    assert f"{session.namespace}/cities" in told["message"]


def test_a_schema_change_is_made_where_it_is_safe_and_refused_where_rows_may_not_fit(session: Session) -> None:
    session.put("in", "a.csv", GOOD)
    session.apply(manifests.source(), manifests.lake(), manifests.dataset(), manifests.pipeline())
    session.last_run("pipeline", "cities", "nonce/1")
    more = [*manifests.FIELDS, {"name": "extra", "type": "string", "from": "upper(city)"}]
    session.apply(manifests.dataset(schema={"fields": more}))

    def columns() -> list[str]:
        return [column["name"] for column in session.get("dataset", "cities")["status"].get("columns", [])]

    session.until(lambda: columns()[-1:] == ["extra"], "the column is there", 60)
    session.wait("dataset", "cities", "SchemaCurrent")
    session.apply(manifests.dataset(schema={"fields": manifests.FIELDS}))
    seen = session.until(
        lambda: (
            (condition := session.condition("dataset", "cities", "SchemaCurrent")).get("reason") == "SchemaChanged"
            and condition
        ),
        "SchemaChanged",
    )
    assert "extra is in the table only" in seen["message"]
    session.put("in", "b.csv", GOOD)
    session.apply(manifests.pipeline(runNonce="meanwhile"))
    loaded = session.last_run("pipeline", "cities", "nonce/meanwhile")
    assert (loaded["state"], loaded.get("rowsLoaded")) == ("Succeeded", 3), "a refused change stops no run"
    assert session.condition("dataset", "cities", "SchemaCurrent")["reason"] == "SchemaChanged"
    session.apply(manifests.dataset(schema={"fields": more}), manifests.pipeline(runNonce="2"))
    session.wait("dataset", "cities", "SchemaCurrent")
    assert session.last_run("pipeline", "cities", "nonce/2")["state"] == "Succeeded"
    assert len(columns()) == len(more)


def test_a_foreign_object_of_our_name_is_never_adopted(session: Session) -> None:
    foreign = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "cities-pipeline-0"},
        "spec": {
            "schedule": "0 0 1 1 *",
            "suspend": True,
            "jobTemplate": {
                "spec": {
                    "template": {
                        "spec": {
                            "restartPolicy": "Never",
                            "containers": [{"name": "worker", "image": "penstock-worker:dev"}],
                        }
                    }
                }
            },
        },
    }
    session.apply(foreign, manifests.source(), manifests.lake(), manifests.dataset())
    session.apply(manifests.pipeline(runNonce="", schedule=["0 1 1 1 *"]))
    told = session.until(
        lambda: (found := session.condition("pipeline", "cities", "Ready")).get("reason") == "NameConflict" and found,
        "NameConflict",
    )
    assert "cities-pipeline-0" in told["message"]
    assert session.get("cronjob", "cities-pipeline-0")["spec"]["schedule"] == "0 0 1 1 *"
    session.kubectl("delete", "cronjob", "cities-pipeline-0")
    session.kubectl("annotate", "pipeline", "cities", "touched=yes")
    session.wait("pipeline", "cities", "Ready")


BAD_VALUES = [
    (manifests.pipeline(retries=99), "retries"),
    (manifests.pipeline(datasets=[]), "datasets"),
    (manifests.source(compression="rar"), "compression"),
    (manifests.source(format={"csv": {"delimiter": "é"}}), "delimiter"),
    (manifests.dataset(writeMode="merge"), "writeMode"),
    (manifests.of("Source", "cities", {"connector": {}}), "connector"),
    (manifests.pipeline(deadline="0s"), "deadline"),
    (manifests.pipeline(schedule=["@every 1h"]), "schedule"),
    (manifests.source(url="s3://KEY:hush@exports/"), "url"),
    (manifests.source(url="https://there.example/a.csv?token=hush"), "url"),
]


@pytest.mark.parametrize(("manifest", "field"), BAD_VALUES)
def test_the_api_server_refuses_wrong_values_by_field(session: Session, manifest: Manifest, field: str) -> None:
    with pytest.raises(AssertionError, match=field):
        session.apply(manifest)


def test_what_only_we_can_judge_becomes_a_condition(session: Session) -> None:
    session.apply(manifests.pipeline(schedule=["61 25 * * *"]))
    told = session.until(
        lambda: (found := session.condition("pipeline", "cities", "Ready")).get("reason") == "InvalidSpec" and found,
        "InvalidSpec",
    )
    assert "spec.schedule[0]" in told["message"]


def test_an_immutable_field_is_refused_with_the_remedy(session: Session) -> None:
    session.apply(manifests.lake(), manifests.dataset())
    with pytest.raises(AssertionError, match="immutable"):
        session.apply(manifests.dataset(table="other"))


def test_wrong_credentials_are_told_and_right_ones_heal(session: Session, tmp_path: Path) -> None:
    with s3.serve(tmp_path / "buckets", session.cluster.place) as server:
        bucket = server.bucket("exports")
        (bucket / "a.csv").write_text(GOOD)
        place = {"url": "s3://exports/", "endpointUrl": server.endpoint, "glob": "*.csv", "format": manifests.CSV}
        auth = {"aws": {"secretRef": {"name": "keys"}}}
        _secret(session, "keys", s3.ACCESS, "a wrong one")
        session.apply(manifests.of("Source", "cities", {"connector": {"files": place}, "auth": auth}))
        session.apply(manifests.lake(), manifests.dataset(), manifests.pipeline())
        told = session.until(
            lambda: (found := session.condition("source", "cities", "Reachable")).get("status") == "False" and found,
            "Reachable is False",
        )
        assert told["reason"] == "WrongCredentials"
        assert "keys" in told["message"]
        _secret(session, "keys", s3.ACCESS, s3.SECRET)
        session.until(
            lambda: session.get("pipeline", "cities").get("status", {}).get("lastRun", {}).get("rowsLoaded") == 3,
            "it heals by itself",
        )


def _secret(session: Session, name: str, access: str, secret: str) -> None:
    data = {"access_key_id": access, "secret_access_key": secret}
    session.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
