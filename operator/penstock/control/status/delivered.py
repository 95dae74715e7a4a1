"""What the status of a Subscription says of its deliveries, beside its runs."""

from penstock.control.resolve import Graph, Problem
from penstock.control.status import verdicts
from penstock.language import words
from penstock.language.conditions import Verdict


def access_granted(graph: Graph, trouble: Problem | None, succeeded: Verdict) -> Verdict:
    """Whether the Dataset offers what the Subscription uses: as its manifest shows, or as a worker found out.

    `succeeded` is the verdict on the newest run: expressions are read by workers alone.
    """
    kind = "AccessGranted"
    if trouble is not None and trouble.reason == "AccessDenied":
        return verdicts.false(kind, "AccessDenied", trouble.message)
    if graph.dataset is None:
        return verdicts.unknown(kind, trouble.reason if trouble else "Progressing", "its Dataset is not known")
    if succeeded.status == "False" and succeeded.reason == "AccessDenied":
        return verdicts.false(kind, "AccessDenied", succeeded.message)
    access = graph.dataset.spec.access
    if access is None or (access.fields is None and access.filter is None):
        return verdicts.true(kind, f"{graph.dataset.title} offers all rows and fields")
    fields = words.count(len(access.fields), "field") if access.fields is not None else "all fields"
    rows = "the rows that pass access.filter" if access.filter is not None else "all rows"
    return verdicts.true(kind, f"{graph.dataset.title} offers {rows} and {fields}")
