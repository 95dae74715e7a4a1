"""What must hold between objects: each check takes typed specs and raises `InvalidSpec` with the field and the remedy.

Pure, so that the operator (live objects) and `penstock validate` (files) judge alike. What must hold within one object
is its model's own matter.
"""

from collections.abc import Mapping

from penstock.api import deliverychecks, findings
from penstock.api.dataset import DatasetSpec
from penstock.api.destination import DestinationSpec
from penstock.api.fields import SchemaField
from penstock.api.pipeline import PipelineDataset
from penstock.api.source import SourceSpec
from penstock.api.subscription import SubscriptionSpec
from penstock.connectors.registry import DESTINATIONS
from penstock.language import words
from penstock.language.errors import InvalidSpec
from penstock.language.traits import Receives, Traits, WriteMode

WRITE_MODES_OF: Mapping[str, tuple[WriteMode, ...]] = {
    "full": ("replace", "upsert", "snapshot"),
    "incremental": ("append", "upsert"),
}
"""The write modes that each sync goes with. A full read appended would double every row; a part would replace all."""


def quarantine_table(table: str) -> str:
    """The name of the table that holds a table's bad rows, in the same Destination."""
    return f"{table}_quarantine"


def pipeline_dataset(entry: PipelineDataset, dataset: DatasetSpec) -> None:
    """The sync of a Pipeline's entry goes with the write mode of its Dataset."""
    able = WRITE_MODES_OF[entry.sync]
    if dataset.write_mode not in able:
        raise InvalidSpec(
            f"sync {entry.sync} goes with writeMode {words.choice(able)}, and Dataset {entry.dataset_ref.name} has "
            f"{dataset.write_mode}. Change one of the two."
        )


def lookback(entry: PipelineDataset, dataset: DatasetSpec) -> None:
    """Rows that are read again are merged by their key."""
    if entry.lookback is not None and dataset.write_mode != "upsert":
        raise InvalidSpec(
            f"lookback reads rows again, so it needs writeMode upsert, and Dataset {entry.dataset_ref.name} has "
            f"{dataset.write_mode}. Use `delay`, or change the Dataset's writeMode."
        )


def cursor(entry: PipelineDataset, source_name: str, source: SourceSpec) -> None:
    """A Source that finds what is new by a cursor is given one, and no other is."""
    needed = source.connector.traits.cursors and entry.sync == "incremental"
    if needed and entry.cursor is None:
        raise InvalidSpec(
            f"sync incremental with Source {source_name}, which is {source.connector.choice}, needs `cursor`: a column "
            "whose value grows with each new or changed row, such as updated_at"
        )
    if entry.cursor is not None and not source.connector.traits.cursors:
        raise InvalidSpec(
            f"Source {source_name} is {source.connector.choice}, which finds by itself what is new; remove `cursor`"
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
    """All that must hold between a Dataset and its Destination."""
    holds_tables(dataset, destination)
    write_mode(dataset, destination)
    table_name(dataset, destination)
    for field in dataset.schema_.fields:
        table_field(field, destination)


def access(dataset: DatasetSpec) -> None:
    """The access rules of a Dataset name its fields."""
    if faults := [*deliverychecks.access(dataset)]:
        raise InvalidSpec("; ".join(findings.listed(faults)))


def holds_tables(dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """A Dataset lives in a Destination that holds tables, of as many columns as it has."""
    traits = destination.connector.traits
    if traits.store is None:
        able = [name for name, spec in DESTINATIONS.items() if spec.traits.store is not None]
        raise InvalidSpec(
            f"Destination {dataset.destination_ref.name} is {destination.connector.choice}, which holds no tables. "
            f"Name a Destination with connector.{' or connector.'.join(able)}."
        )
    count = len(dataset.schema_.fields)
    if traits.limits is not None and count > traits.limits.columns:
        raise InvalidSpec(
            f"Destination {dataset.destination_ref.name} is {traits.title}, which allows {traits.limits.columns:,} "
            f"fields, and there are {count:,}; use fewer, or split the Dataset"
        )


def write_mode(dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """The Destination's system can write the way that the Dataset asks for."""
    traits = destination.connector.traits
    if dataset.write_mode not in traits.write_modes:
        raise InvalidSpec(
            f"writeMode {dataset.write_mode} is not possible with Destination {dataset.destination_ref.name}, which is "
            f"{destination.connector.choice}; use writeMode {words.choice(traits.write_modes)}"
        )


def table_name(dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """The table, and that of its bad rows, can have their names in the Destination's system."""
    traits = destination.connector.traits
    if (limits := traits.limits) is None:
        return
    suffix = quarantine_table("")
    longest = limits.name_bytes - len(suffix)
    if len(dataset.table.encode()) > longest:
        raise InvalidSpec(
            f'"{dataset.table}" is longer than {longest} bytes: {traits.title} allows {limits.name_bytes} for a name, '
            f'and the table of bad rows has "{suffix}" after it'
        )
    for prefix in limits.reserved_tables:
        if dataset.table.startswith(prefix):
            raise InvalidSpec(
                f'"{dataset.table}" begins with "{prefix}", as Penstock\'s own tables in {traits.title} do'
            )


def table_field(field: SchemaField, destination: DestinationSpec) -> None:
    """A column can have the field's name in the Destination's system."""
    traits = destination.connector.traits
    if (limits := traits.limits) is None:
        return
    if len(field.name.encode()) > limits.name_bytes:
        message = f'"{field.name}" is longer than {limits.name_bytes} bytes, which is what {traits.title} allows'
        raise InvalidSpec(f"{message} for a name; use `from` with a shorter name")
    if field.name.lower() in limits.reserved_columns:
        raise InvalidSpec(
            f'"{field.name}" is a column that every table of {traits.title} has by itself; use `from` with another name'
        )


def subscription_destination(subscription: SubscriptionSpec, destination: DestinationSpec) -> None:
    """A Subscription delivers to a Destination that receives deliveries."""
    if destination.connector.traits.target is None:
        able = [name for name, spec in DESTINATIONS.items() if spec.traits.target is not None]
        raise InvalidSpec(
            f"Destination {subscription.destination_ref.name} is {destination.connector.choice}, which receives no "
            f"deliveries. Name a Destination with connector.{' or connector.'.join(able)}."
        )


SETTINGS_OF: Mapping[Receives, tuple[str, ...]] = {"files": ("suffix", "format"), "tables": ("table",)}
"""The members of a Subscription's `settings` that go with what its Destination receives."""


def subscription_setting(name: str, subscription: SubscriptionSpec, destination: DestinationSpec) -> None:
    """The member `name` of a Subscription's `settings` goes with its Destination, and is there where it must be."""
    traits = destination.connector.traits
    if traits.receives is None:
        return
    given, place = getattr(subscription.settings, name), subscription.destination_ref.name
    fits = name in SETTINGS_OF[traits.receives]
    if given is not None and not fits:
        raise InvalidSpec(
            f"settings.{name} is not possible with Destination {place}, which is {destination.connector.choice} and "
            f"receives {traits.receives}; leave it out"
        )
    if name != "table" or not fits:
        return
    if given is None:
        raise InvalidSpec(
            f"Destination {place} is {destination.connector.choice}, which receives tables; "
            "name the table in settings.table"
        )
    _delivered_table_name(given, traits)


def _delivered_table_name(table: str, traits: Traits) -> None:
    if (limits := traits.limits) is None:
        return
    if len(table.encode()) > limits.name_bytes:
        raise InvalidSpec(
            f'"{table}" is longer than {limits.name_bytes} bytes, which is what {traits.title} allows for a name'
        )
    for prefix in limits.reserved_tables:
        if table.lower().startswith(prefix):
            raise InvalidSpec(f'"{table}" begins with "{prefix}", as Penstock\'s own tables in {traits.title} do')


def subscription_columns(subscription: SubscriptionSpec, dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """A table of the Destination can have the columns of the delivery."""
    traits = destination.connector.traits
    if traits.receives != "tables" or (limits := traits.limits) is None:
        return
    chosen = [field.as_ or field.name for field in subscription.fields if field.exported is not False]
    names = chosen or [field.name for field in dataset.schema_.fields if not field.sensitive]
    if len(names) > limits.columns:
        raise InvalidSpec(
            f"{traits.title} allows {limits.columns:,} columns, and {len(names):,} fields are delivered; choose fewer "
            "in `fields`"
        )
    for name in names:
        if len(name.encode()) > limits.name_bytes:
            raise InvalidSpec(
                f'"{name}" is longer than {limits.name_bytes} bytes, which is what {traits.title} allows for a column; '
                "give it a shorter name with `as`"
            )
        if name.lower() in limits.reserved_columns:
            raise InvalidSpec(
                f'"{name}" is a column that every table of {traits.title} has by itself; give it another name with `as`'
            )


def subscription(subscription: SubscriptionSpec, dataset: DatasetSpec, destination: DestinationSpec) -> None:
    """All that must hold between a Subscription, its Dataset and its Destination."""
    subscription_destination(subscription, destination)
    if denied := [*deliverychecks.denied(subscription, dataset)]:
        raise InvalidSpec("; ".join(findings.listed(denied)), "AccessDenied")
    for name in (*SETTINGS_OF["files"], *SETTINGS_OF["tables"]):
        subscription_setting(name, subscription, destination)
    subscription_columns(subscription, dataset, destination)
    if faults := [*deliverychecks.faults(subscription, dataset)]:
        raise InvalidSpec("; ".join(findings.listed(faults)))
