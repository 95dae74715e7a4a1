"""Lists and watches: pages, selectors, bookmarks, and what is told to somebody who comes too late."""

from embedded import harness
from embedded.harness import Json, Kube, thing

MERGE = "application/merge-patch+json"


def _names(events: list[Json]) -> list[tuple[str, str]]:
    return [(e["type"], e["object"]["metadata"]["name"]) for e in events if e["type"] != "BOOKMARK"]


def test_pages_join_up(kube: Kube) -> None:
    for number in range(5):
        kube.http("POST", "things", thing(f"l{number}"))

    first = kube.get("things?limit=3")
    second = kube.get(f"things?limit=3&continue={first['metadata']['continue']}")

    assert first["metadata"]["remainingItemCount"] == 2
    assert [i["metadata"]["name"] for i in first["items"] + second["items"]] == ["l0", "l1", "l2", "l3", "l4"]
    assert not second["metadata"].get("continue")


def test_pages_are_of_one_version(kube: Kube) -> None:
    for name in ("a", "b", "c"):
        kube.http("POST", "things", thing(name, num=1))
    first = kube.get("things?limit=1")
    kube.http("PATCH", "things/b", {"spec": {"num": 2}}, MERGE)
    kube.http("DELETE", "things/c")
    kube.http("POST", "things", thing("d"))

    rest = kube.get(f"things?continue={first['metadata']['continue']}")

    assert [(item["metadata"]["name"], item["spec"]["num"]) for item in rest["items"]] == [("b", 1), ("c", 1)]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_watch_without_version_begins_with_what_is_there(kube: Kube) -> None:
    kube.http("POST", "things", thing("a"))

    assert _names(kube.watch("things?watch=true&timeoutSeconds=1")) == [("ADDED", "a")]


def test_initial_events_end_with_a_marked_bookmark(kube: Kube, is_real: bool) -> None:
    if is_real:
        return  # needs a newer etcd than the one beside it
    kube.http("POST", "things", thing("a"))
    query = "watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"

    first, second, *_ = kube.watch(f"things?{query}&allowWatchBookmarks=true")

    assert first["type"] == "ADDED"
    assert second["type"] == "BOOKMARK"
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_selector_turns_changes_into_comings_and_goings(kube: Kube) -> None:
    kube.http("POST", "things", thing("a"))
    version = kube.get("things")["metadata"]["resourceVersion"]
    for patch in ({"metadata": {"labels": {"sel": "1"}}}, {"spec": {"num": 4}}, {"metadata": {"labels": {"sel": "2"}}}):
        kube.http("PATCH", "things/a", patch, MERGE)

    events = kube.watch(f"things?watch=true&timeoutSeconds=1&resourceVersion={version}&labelSelector=sel%3D1")

    assert _names(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_the_version_of_an_answer_is_the_version_of_its_event(kube: Kube) -> None:
    version = kube.get("things")["metadata"]["resourceVersion"]
    answer = kube.http("POST", "things", thing("a"))[1]

    event = kube.watch(f"things?watch=true&timeoutSeconds=1&resourceVersion={version}")[0]

    assert event["object"]["metadata"]["resourceVersion"] == answer["metadata"]["resourceVersion"]


def test_without_the_token_nothing_is_told(kube: Kube) -> None:
    stranger = harness.Kube(kube.kubeconfig, kube.namespace)
    printed = stranger.ctl("get", "things", "--token=wrong", ok=False)
    assert "must be logged in" in printed or "Unauthorized" in printed
