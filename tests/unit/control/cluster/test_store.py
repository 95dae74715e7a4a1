"""What was seen of the cluster: newest versions, indexes, and what is gone for good."""

import copy

import pytest

from penstock.api import objects
from penstock.api.objects import Key
from penstock.control.cluster import store as stores
from penstock.control.cluster.port import Manifest, Ref
from penstock.control.cluster.store import Store
from support import jobs, manifests

KEY = Key("Pipeline", "default", "cities")


def _seen(manifest: Manifest, version: int = 1, uid: str = "uid-1") -> Manifest:
    metadata = {"namespace": "default", "uid": uid, "resourceVersion": str(version)}
    return {**manifest, "metadata": {**manifest["metadata"], **metadata}}


def test_only_a_newer_version_is_news() -> None:
    store = Store()
    assert store.put(_seen(manifests.pipeline(), 9))
    assert not store.put(_seen(manifests.pipeline(), 9))
    assert not store.put(_seen(manifests.pipeline(), 8))
    assert store.put(_seen(manifests.pipeline(), 10)), "versions compare as numbers, not as texts"


def test_another_incarnation_is_news_whatever_its_version() -> None:
    store = Store()
    store.put(_seen(manifests.pipeline(), 9, "first"))
    assert store.put(_seen(manifests.pipeline(), 3, "second"))


def test_an_answer_that_comes_after_the_news_of_the_deletion_brings_nothing_back() -> None:
    store = Store()
    store.put(_seen(manifests.pipeline(), 1))
    assert store.remove(_seen(manifests.pipeline(), 5))
    assert not store.put(_seen(manifests.pipeline(), 4))
    assert store.get(KEY) is None


def test_a_child_that_lost_its_label_and_got_it_back_is_seen_again() -> None:
    store, job = Store(), jobs.job(version=3)
    store.put_child(job)
    store.remove_child(job)  # a watch with a selector tells it as a deletion
    assert not store.put_child(job)
    assert store.put_child(jobs.job(version=4))


def test_the_deletion_of_a_former_object_leaves_its_successor() -> None:
    store = Store()
    store.put(_seen(manifests.pipeline(), 7, "second"))
    assert not store.remove(_seen(manifests.pipeline(), 6, "first"))
    assert store.get(KEY) is not None


def test_those_that_a_spec_names_know_who_names_them_whether_they_exist_or_not() -> None:
    store = Store()
    store.put(_seen(manifests.pipeline()))
    for kind in ("Source", "Dataset"):
        assert store.referrers(Key(kind, "default", "cities")) == {KEY}
    changed = _seen(manifests.pipeline(sourceRef={"name": "other"}), 2)
    store.put(changed)
    assert store.referrers(Key("Source", "default", "cities")) == set()
    store.remove(changed)
    assert store.referrers(Key("Source", "default", "other")) == set()


@pytest.mark.parametrize(
    "spec", [None, {}, {"datasets": "all"}, {"datasets": [1, {"datasetRef": 2}]}, {"sourceRef": []}]
)
def test_a_spec_without_sense_refers_to_nothing(spec: object) -> None:
    assert stores.references({"metadata": {"name": "cities"}, "spec": spec}) == set()


def test_children_are_found_by_owner_and_jobs_by_the_datasets_they_work_on() -> None:
    store, job = Store(), jobs.job(annotations={objects.DATASETS: "cities,towns"})
    store.put_child(job)
    assert store.children(KEY) == [job]
    for name in ("cities", "towns"):
        assert store.jobs_of_dataset(Key("Dataset", "default", name)) == [job]
    store.remove_child(job)
    assert store.children(KEY) == []
    assert store.jobs_of_dataset(Key("Dataset", "default", "towns")) == []


def test_pods_belong_to_their_job_oldest_first() -> None:
    store, job = Store(), jobs.job()
    for number in (2, 1):
        store.put_child(jobs.pod(job, number))
    assert [pod["metadata"]["name"] for pod in store.pods(job)] == ["cities-ingest-1-1", "cities-ingest-1-2"]
    assert store.children(KEY) == [], "a Pod is no child of its own"


def test_a_job_is_unfinished_until_a_condition_says_otherwise() -> None:
    store = Store()
    store.put_child(jobs.job())
    assert store.unfinished_jobs()
    done = jobs.job(version=2, status=jobs.over())
    store.put_child(done)
    assert store.unfinished_jobs() == []
    unsure = copy.deepcopy(done)
    unsure["status"]["conditions"][0]["status"] = "False"
    assert not stores.finished(unsure)


@pytest.mark.parametrize(
    "references",
    [
        [],
        [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "cities", "uid": "uid-2"}],
        [{"apiVersion": "other.dev/v1", "kind": "Pipeline", "name": "cities", "uid": "uid-2"}],
        [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "somebodys", "uid": "uid-3"}],
    ],
)
def test_a_child_with_our_labels_and_no_owner_of_ours_is_foreign(references: list[Manifest]) -> None:
    store, foreign = Store(), jobs.job(owners=references, annotations={objects.DATASETS: "cities"})
    store.put_child(foreign)
    assert store.owner_of(foreign) is None
    assert store.children(KEY) == []
    assert store.jobs_of_dataset(Key("Dataset", "default", "cities")) == []


def test_labels_that_are_gone_or_changed_leave_a_child_with_its_owner() -> None:
    store, job = Store(), jobs.job()
    job["metadata"]["labels"] = {objects.OWNER_NAME: "another"}
    store.put_child(job)
    assert store.owner_of(job) == KEY
    assert store.children(KEY) == [job]


def test_a_job_of_a_cronjob_belongs_to_whom_that_belongs_also_when_it_was_seen_first() -> None:
    store = Store()
    cronjob = {**jobs.job("cities-pipeline-0"), "kind": "CronJob"}
    made = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "cities-pipeline-0", "uid": cronjob["metadata"]["uid"]}
    job = jobs.job(owners=[made])
    store.put_child(job)
    assert store.owner_of(job) is None
    store.put_child(cronjob)
    assert store.owner_of(job) == KEY
    assert store.children(KEY) == [cronjob, job]
    store.remove_child(cronjob)
    assert store.children(KEY) == []


def test_refs_tells_every_child_of_a_kind() -> None:
    store = Store()
    store.put_child(jobs.job())
    store.put_child(jobs.pod(jobs.job()))
    assert store.refs("Job") == {Ref("Job", "default", "cities-ingest-1")}
