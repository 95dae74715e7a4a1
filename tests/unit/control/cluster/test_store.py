"""What was seen of the cluster: newest versions, indexes, and what is gone for good."""

import copy
from dataclasses import replace

import pytest

from penstock.api import objects
from penstock.api.objects import Key
from penstock.control.cluster import store as stores
from penstock.control.cluster.port import Manifest, Ref
from penstock.control.cluster.store import Store
from penstock.language.errors import InvalidSpec
from penstock.language.traits import DeliveryPlace
from support import jobs, manifests

KEY = Key("Pipeline", "default", "cities")
CITIES = Key("Dataset", "default", "cities")


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
        assert store.writing_jobs(Key("Dataset", "default", name)) == [job]
    store.remove_child(job)
    assert store.children(KEY) == []
    assert store.writing_jobs(Key("Dataset", "default", "towns")) == []


def test_pods_belong_to_their_job_oldest_first() -> None:
    store, job = Store(), jobs.job()
    for number in (2, 1):
        store.put_child(jobs.pod(job, number))
    assert [pod["metadata"]["name"] for pod in store.pods(job)] == ["cities-ingest-1-1", "cities-ingest-1-2"]
    assert store.children(KEY) == [], "a Pod is no child of its own"


def test_a_job_waits_then_writes_its_dataset_and_then_has_written_it() -> None:
    store = Store()

    def indexes() -> tuple[int, bool, int, int]:
        waiting = store.waiting_jobs(KEY)
        assert waiting == store.waiting_jobs()
        queued = store.waiting_writer(CITIES, "", 0) is not None
        return len(waiting), queued, len(store.writing_jobs(CITIES)), len(store.written_jobs(CITIES))

    about = {objects.DATASETS: "cities"}
    suspended = jobs.job(annotations=about)
    suspended["spec"]["suspend"] = True
    store.put_child(suspended)
    assert indexes() == (1, True, 0, 0)
    store.put_child(jobs.job(annotations=about, version=2))
    assert (indexes(), store.take_released()) == ((0, False, 1, 0), set())
    done = jobs.job(annotations=about, version=3, status=jobs.over())
    store.put_child(done)
    assert (indexes(), store.take_released()) == ((0, False, 0, 1), {CITIES})
    assert store.take_released() == set()
    store.remove_child(done)
    assert indexes() == (0, False, 0, 0)
    unsure = copy.deepcopy(done)
    unsure["status"]["conditions"][0]["status"] = "False"
    assert not stores.finished(unsure)


def test_of_the_jobs_that_wrote_a_dataset_those_since_a_time_are_found() -> None:
    store = Store()
    for day in (1, 3, 2):
        ended = jobs.over(at=f"2026-11-0{day}T00:00:00Z")
        store.put_child(jobs.job(f"j{day}", annotations={objects.DATASETS: "cities"}, status=ended))
    names = [job["metadata"]["name"] for job in store.written_jobs(CITIES, "2026-11-02T00:00:00Z")]
    assert names == ["j2", "j3"]


def test_a_spec_and_a_status_are_parsed_once_for_each_version() -> None:
    store = Store()
    store.put(_seen(manifests.pipeline()))
    first = store.spec(KEY)
    store.put({**_seen(manifests.pipeline(), 2), "status": {"observedGeneration": 1}})
    assert store.spec(KEY) is first
    store.put(_seen(manifests.pipeline(retries=7), 3))
    assert store.spec(KEY) is not first
    statuses = [store.derived(KEY, lambda manifest: manifest["metadata"]["resourceVersion"])]
    assert (statuses, store.parses) == (["3"], 3)


def test_an_invalid_spec_is_parsed_once_too_and_refused_each_time() -> None:
    store = Store()
    store.put(_seen(manifests.pipeline(retries="many")))
    for _ in range(3):
        with pytest.raises(InvalidSpec, match="retries"):
            store.spec(KEY)
    assert store.parses == 1


OLD, YOUNG = Key("Subscription", "default", "old"), Key("Subscription", "default", "a-young-one")
FOLDER = DeliveryPlace("folder", "file:///volumes/out/", "default")


def _two_subscriptions() -> Store:
    store = Store()
    for day, key in ((1, OLD), (2, YOUNG)):
        store.put(_created(manifests.subscription(key.name), day))
    store.put(_seen(manifests.outbox()))  # seen last: watches come in any order
    return store


def _created(manifest: Manifest, day: int, version: int = 1, **metadata: str) -> Manifest:
    seen = _seen(manifest, version)
    created = {"creationTimestamp": f"2026-11-0{day}T00:00:00Z", "uid": manifest["metadata"]["name"], **metadata}
    return {**seen, "metadata": {**seen["metadata"], **created}}


def test_the_oldest_subscription_has_its_folder() -> None:
    store = _two_subscriptions()
    assert (store.delivery_place(YOUNG), store.delivery_owner(FOLDER)) == (FOLDER, OLD)
    assert store.delivery_place(Key("Subscription", "default", "none")) is None


@pytest.mark.parametrize(
    "after",
    [
        _created(manifests.subscription("old", settings={"suffix": "elsewhere"}), 1, 2),
        _created(manifests.subscription("old", destinationRef={"name": "other"}), 1, 2),
        _created(manifests.subscription("old", fields="none"), 1, 2),
        _created(manifests.subscription("old"), 1, 2, deletionTimestamp="2026-11-03T00:00:00Z"),
    ],
)
def test_when_it_leaves_the_folder_the_next_one_has_it_and_is_named(after: Manifest) -> None:
    store = _two_subscriptions()
    store.take_reordered()
    store.put(after)
    assert (store.delivery_owner(FOLDER), store.take_reordered(), store.take_reordered()) == (YOUNG, {YOUNG}, set())


def test_when_it_is_gone_the_next_one_has_the_folder() -> None:
    store = _two_subscriptions()
    store.remove(_created(manifests.subscription("old"), 1))
    assert (store.delivery_owner(FOLDER), store.take_reordered()) == (YOUNG, {YOUNG})


def test_who_loses_a_folder_to_an_older_one_that_enters_it_is_named() -> None:
    store = Store()
    store.put(_seen(manifests.outbox()))
    store.put(_created(manifests.subscription("old", settings={"suffix": "elsewhere"}), 1))
    store.put(_created(manifests.subscription(YOUNG.name), 2))
    assert (store.delivery_owner(FOLDER), store.take_reordered()) == (YOUNG, set())
    store.put(_created(manifests.subscription("old"), 1, 2))
    assert (store.delivery_owner(FOLDER), store.take_reordered()) == (OLD, {YOUNG})


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"sourceRef": {"name": "other"}}},
        {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "well"}]}},
        {"status": {"lastLoadTime": "2026-11-22T12:00:00Z"}},
        {"metadata": {"uid": "another"}},
        {"metadata": {"deletionTimestamp": "2026-11-22T12:00:00Z"}},
    ],
)
def test_a_change_that_referrers_read_is_kept_until_it_is_taken(change: Manifest) -> None:
    store, before = Store(), _seen(manifests.pipeline())
    store.put(before)
    assert (store.take_changed(), store.take_changed()) == ([KEY], [])
    after = copy.deepcopy(before)
    for member, value in change.items():
        after.setdefault(member, {}).update(value)
    after["metadata"]["resourceVersion"] = "2"
    store.put(after)
    assert store.take_changed() == [KEY]
    store.remove(after)
    assert store.take_changed() == [KEY]


def test_the_specs_that_are_not_parsed_yet_are_named() -> None:
    store = Store()
    assert store.reads(KEY) == []
    store.put(_seen(manifests.pipeline()))
    assert store.reads(KEY) == [KEY]
    store.put(_seen(manifests.dataset()))
    assert store.reads(KEY) == [KEY, CITIES]
    store.spec(CITIES)
    assert store.reads(KEY) == [KEY]


def test_a_change_that_no_referrer_reads_is_no_news_for_them() -> None:
    store = Store()
    store.put(_seen(manifests.pipeline()))
    store.take_changed()
    touched = _seen({**manifests.pipeline(), "status": {"rows": 7}}, 2)
    touched["metadata"]["annotations"] = {"touched": "yes"}
    store.put(touched)
    assert store.take_changed() == []


def test_a_destination_that_moves_takes_its_subscriptions_along() -> None:
    store = _two_subscriptions()
    moved = manifests.outbox()
    moved["spec"]["connector"]["files"]["url"] = "file:///volumes/out/new/"
    store.put(_seen(moved, 2))
    assert (store.delivery_place(OLD), store.delivery_owner(FOLDER)) == (
        replace(FOLDER, name="file:///volumes/out/new/"),
        None,
    )
    store.put(_seen(manifests.lake("outbox"), 3))
    assert store.delivery_place(OLD) is None


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
    assert store.writing_jobs(CITIES) == []


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


def test_a_pod_is_of_whom_its_job_is_so_that_what_it_waits_for_is_seen() -> None:
    store, job = Store(), jobs.job()
    pod = jobs.pod(job)
    assert store.owner_of(pod) is None
    store.put_child(job)
    assert store.owner_of(pod) == KEY


def test_refs_tells_every_child_of_a_kind() -> None:
    store = Store()
    store.put_child(jobs.job())
    store.put_child(jobs.pod(jobs.job()))
    assert store.refs("Job") == {Ref("Job", "default", "cities-ingest-1")}
