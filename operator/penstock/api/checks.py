"""What must hold between objects: each check takes typed specs and raises `InvalidSpec` with the field and the remedy.

Pure, so that the operator (live objects) and `penstock validate` (files) judge alike. What must hold within one object
is its model's own matter.
"""

from penstock.api import findings
from penstock.api.dataset import DatasetSpec
from penstock.api.destination import DestinationSpec
from penstock.api.pipeline import PipelineDataset
from penstock.api.source import SourceSpec
from penstock.api.subscription import SubscriptionField, SubscriptionSpec
from penstock.connectors.registry import DESTINATIONS
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


def stream(entry: PipelineDataset, source_name: str, source: SourceSpec) -> None:
    """The stream that an entry names can be there. Which streams a system of many has, only an inspection tells."""
    if source.connector.traits.streams == "many":
        if entry.stream is None:
            raise InvalidSpec(f"Source {source_name} has many streams: name one in `stream`")
        return
    if entry.stream is not None and entry.stream != source_name:
        raise InvalidSpec(
            f'the Source has no stream "{entry.stream}"; {findings.suggestion(entry.stream, [source_name])}'
        )


def stream_sync(entry: PipelineDataset, source_name: str, source: SourceSpec) -> None:
    """The Source's system can be read the way that the entry asks for."""
    able = source.connector.traits.sync
    if entry.sync not in able:
        raise InvalidSpec(
            f"sync {entry.sync} is not possible with Source {source_name}, which is {source.connector.choice}; "
            f"use sync {' or '.join(able)}"
        )


def dataset_destination(dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """A Dataset lives in a Destination that holds tables, and whose tables can be as the Dataset says."""
    if destination.connector.traits.store is None:
        able = [name for name, spec in DESTINATIONS.items() if spec.traits.store is not None]
        raise InvalidSpec(
            f"Destination {dataset.destination_ref.name} is {destination.connector.choice}, which holds no tables. "
            f"Name a Destination with connector.{' or connector.'.join(able)}."
        )
    _within_limits(dataset, destination)


def _within_limits(dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """The names and the number of columns are possible in the Destination's system."""
    traits = destination.connector.traits
    limits = traits.limits
    if limits is None:
        return
    title, fields = traits.title, dataset.schema_.fields
    suffix = len(quarantine_table(dataset.table).encode()) - len(dataset.table.encode())
    if len(dataset.table.encode()) > limits.name_bytes - suffix:
        raise InvalidSpec(
            f'table "{dataset.table}" is too long: {title} allows {limits.name_bytes} bytes, and '
            f'"{quarantine_table("")}" is added for its bad rows. Use {limits.name_bytes - suffix} at most'
        )
    if any(dataset.table.startswith(prefix) for prefix in limits.reserved_tables):
        raise InvalidSpec(
            f'table "{dataset.table}" begins like Penstock\'s own tables in {title}; choose a name that does not begin '
            f"with {' or '.join(limits.reserved_tables)}"
        )
    for field in fields:
        if len(field.name.encode()) > limits.name_bytes:
            raise InvalidSpec(f'field "{field.name}" is too long: {title} allows {limits.name_bytes} bytes')
        if field.name.lower() in limits.reserved_columns:
            raise InvalidSpec(f'field "{field.name}": every table of {title} has a column of that name; rename it')
    if len(fields) > limits.columns:
        raise InvalidSpec(f"there are {len(fields):,} fields, and {title} allows {limits.columns:,}; split the Dataset")


def subscription_destination(subscription: SubscriptionSpec, destination: DestinationSpec) -> None:
    """A Subscription delivers to a Destination that receives deliveries."""
    if destination.connector.traits.target is None:
        able = [name for name, spec in DESTINATIONS.items() if spec.traits.target is not None]
        raise InvalidSpec(
            f"Destination {subscription.destination_ref.name} is {destination.connector.choice}, which receives no "
            f"deliveries. Name a Destination with connector.{' or connector.'.join(able)}."
        )


def subscription_field(field: SubscriptionField, subscription: SubscriptionSpec, dataset: DatasetSpec) -> None:
    """A field that a Subscription names is in its Dataset's schema, written the same way."""
    known = [column.name for column in dataset.schema_.fields]
    if field.name not in known:
        raise InvalidSpec(
            f'Dataset {subscription.dataset_ref.name} has no field "{field.name}"; '
            f"{findings.suggestion(field.name, known)}"
        )


def subscription(subscription: SubscriptionSpec, dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """All that must hold between a Subscription, its Dataset and its Destination."""
    subscription_destination(subscription, destination)
    for field in subscription.fields:
        subscription_field(field, subscription, dataset)
