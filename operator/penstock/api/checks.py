"""What must hold between objects: each check takes typed specs and raises `InvalidSpec` with the field and the remedy.

Pure, so that the operator (live objects) and `penstock validate` (files) judge alike. What must hold within one object
is its model's own matter.
"""

import posixpath
from collections.abc import Iterable

from penstock.api import findings
from penstock.api.dataset import DatasetSpec
from penstock.api.destination import DestinationSpec
from penstock.api.pipeline import PipelineDataset
from penstock.api.subscription import SubscriptionField, SubscriptionSpec
from penstock.language.errors import InvalidSpec

WRITE_MODE_OF = {"full": "replace", "incremental": "append"}
"""The write mode that each sync goes with. A full read appended would double every row; a part would replace all."""


def quarantine_table(table: str) -> str:
    """The name of the table that holds a table's bad rows, in the same Destination."""
    return f"{table}_quarantine"


def pipeline_dataset(entry: PipelineDataset, dataset: DatasetSpec) -> None:
    """The sync of a Pipeline's entry goes with the write mode of its Dataset."""
    wanted = WRITE_MODE_OF[entry.sync]
    if dataset.write_mode != wanted:
        raise InvalidSpec(
            f"sync {entry.sync} goes with writeMode {wanted}, and Dataset {entry.dataset_ref.name} has "
            f"{dataset.write_mode}. Change one of the two."
        )


def stream(entry: PipelineDataset, streams: Iterable[str]) -> None:
    """The stream that an entry names exists; `streams` are those of its Source."""
    known = list(streams)
    if entry.stream is not None and entry.stream not in known:
        raise InvalidSpec(f'the Source has no stream "{entry.stream}"; {findings.suggestion(entry.stream, known)}')


def dataset_destination(dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """A Dataset lives in a lake."""
    if destination.connector.lake is None:
        raise InvalidSpec(
            f"Destination {dataset.destination_ref.name} is {destination.connector.choice}, and a Dataset's table "
            "lives in a lake. Name a Destination with connector.lake."
        )


def subscription_destination(subscription: SubscriptionSpec, destination: DestinationSpec) -> None:
    """A Subscription delivers files."""
    if destination.connector.files is None:
        raise InvalidSpec(
            f"Destination {subscription.destination_ref.name} is {destination.connector.choice}, and a Subscription "
            "delivers files. Name a Destination with connector.files."
        )


def subscription_field(field: SubscriptionField, subscription: SubscriptionSpec, dataset: DatasetSpec) -> None:
    """A field that a Subscription names is in its Dataset's schema, written the same way."""
    known = [column.name for column in dataset.schema_.fields]
    if field.name not in known:
        raise InvalidSpec(
            f'Dataset {subscription.dataset_ref.name} has no field "{field.name}"; '
            f"{findings.suggestion(field.name, known)}"
        )


def delivery_folder(suffix: str | None, destination: DestinationSpec, namespace: str) -> str | None:
    """The one folder that a Subscription with that suffix delivers into, so that two can be compared.

    None where the Destination receives no files. A `file://` URL is that of a claim, and claims are of a namespace; a
    bucket is one for all that name its server.
    """
    files = destination.connector.files
    if files is None:
        return None
    suffix = (suffix or "").strip("/")
    folder = f"{files.url}{suffix}/" if suffix else files.url
    if files.scheme == "file":
        return f"{namespace} file://{posixpath.normpath(folder.removeprefix('file://'))}/"
    return f"{files.endpoint_url or ''} {folder}"


def subscription(subscription: SubscriptionSpec, dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """All that must hold between a Subscription, its Dataset and its Destination."""
    subscription_destination(subscription, destination)
    for field in subscription.fields:
        subscription_field(field, subscription, dataset)
