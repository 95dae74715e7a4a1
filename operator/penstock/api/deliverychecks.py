"""What must hold between the rules of a Subscription and the fields of its Dataset."""

from collections.abc import Iterator, Mapping

from penstock.api import findings
from penstock.api.dataset import DatasetSpec
from penstock.api.deliveryrules import FieldFilter, Range
from penstock.api.fields import ORDERED, SchemaField
from penstock.api.findings import Finding, Path
from penstock.api.subscription import SubscriptionSpec
from penstock.language import literals

_TIMES = ("date", "timestamp", "timestamptz")


def offered(dataset: DatasetSpec) -> list[SchemaField]:
    """The fields that Subscriptions of the Dataset can use."""
    fields = dataset.access.fields if dataset.access is not None else None
    return [field for field in dataset.schema_.fields if fields is None or field.name in fields]


def access(dataset: DatasetSpec) -> Iterator[Finding]:
    """What is wrong with the access rules of a Dataset; the filter is not looked at."""
    names = [field.name for field in dataset.schema_.fields]
    given = (dataset.access.fields if dataset.access is not None else None) or []
    for index, name in enumerate(given):
        here: Path = ("spec", "access", "fields", index)
        if name not in names:
            yield Finding(here, f'there is no field "{name}"; {findings.suggestion(name, names)}')
        elif name in given[:index]:
            yield Finding(here, f'the field "{name}" occurs twice')


def denied(subscription: SubscriptionSpec, dataset: DatasetSpec) -> Iterator[Finding]:
    """The fields that a Subscription uses and the Dataset does not offer. Whether it has them is not said."""
    if dataset.access is None or dataset.access.fields is None:
        return
    names, name = [field.name for field in offered(dataset)], subscription.dataset_ref.name
    for path, used in _used(subscription):
        if used not in names:
            message = f'access.fields of Dataset {name} does not offer the field "{used}"'
            yield Finding(path, f"{message}; {findings.suggestion(used, names)}")


def _used(subscription: SubscriptionSpec) -> Iterator[tuple[Path, str]]:
    """Every field that a Subscription names, with its place."""
    for index, field in enumerate(subscription.fields):
        yield ("spec", "fields", index, "name"), field.name
    for rule in ("deduplication", "frequency"):
        given = getattr(subscription, rule)
        for index, each in enumerate(given.by if given is not None else ()):
            yield ("spec", rule, "by", index), each


def budget(subscription: SubscriptionSpec, dataset: DatasetSpec) -> Iterator[Finding]:
    """A budget goes with a price in the same currency."""
    given, price = subscription.budget, dataset.access.price_per_thousand if dataset.access is not None else None
    name = subscription.dataset_ref.name
    if given is not None and price is None:
        message = f"Dataset {name} has no access.pricePerThousand, so its rows cost nothing; leave the budget out"
        yield Finding(("spec", "budget"), message)
    elif given is not None and price is not None and given.currency != price.currency:
        message = f"the price of Dataset {name} is in {price.currency}, not in {given.currency}"
        yield Finding(("spec", "budget", "currency"), message)


def columns(subscription: SubscriptionSpec, dataset: DatasetSpec) -> list[tuple[str, str]]:
    """Name and type of each column that is delivered, in order."""
    fields = offered(dataset)
    if not subscription.fields:
        return [(field.name, field.type) for field in fields if not field.sensitive]
    types = {field.name: field.type for field in fields}
    chosen = [field for field in subscription.fields if field.exported is not False and field.name in types]
    return [(field.as_ or field.name, types[field.name]) for field in chosen]


def faults(subscription: SubscriptionSpec, dataset: DatasetSpec) -> Iterator[Finding]:
    """Everything that is wrong, each with its path in the object; expressions are not looked at."""
    if refused := [*denied(subscription, dataset)]:
        yield from refused
        return
    yield from budget(subscription, dataset)
    fields = {field.name: field for field in dataset.schema_.fields}
    name = subscription.dataset_ref.name
    for index, field in enumerate(subscription.fields):
        here: Path = ("spec", "fields", index)
        if field.name not in fields:
            yield _no_field((*here, "name"), field.name, fields, name)
        elif field.filter is not None:
            yield from _filter((*here, "filter"), field.filter, fields[field.name])
    for rule in ("deduplication", "frequency"):
        given = getattr(subscription, rule)
        for index, each in enumerate(given.by if given is not None else ()):
            here = ("spec", rule, "by", index)
            if each not in fields:
                yield _no_field(here, each, fields, name)
            elif each in given.by[:index]:
                yield Finding(here, f'the field "{each}" occurs twice')


def _no_field(path: Path, name: str, fields: Mapping[str, SchemaField], dataset: str) -> Finding:
    return Finding(path, f'Dataset {dataset} has no field "{name}"; {findings.suggestion(name, [*fields])}')


def _filter(path: Path, given: FieldFilter, field: SchemaField) -> Iterator[Finding]:
    bare = field.type.partition("(")[0]
    for rule in ("include", "exclude"):
        for index, written in enumerate(getattr(given, rule) or ()):
            yield from _value((*path, rule, index), field, written)
    if given.range is not None:
        if bare not in ORDERED:
            message = f"a range goes with numbers, dates and times, and {field.name} is a {field.type}"
            yield Finding((*path, "range"), message)
        else:
            yield from _range((*path, "range"), given.range, field)
    if given.recency is not None and bare not in _TIMES:
        message = f"recency goes with date, timestamp and timestamptz, and {field.name} is a {field.type}"
        yield Finding((*path, "recency"), message)


def _range(path: Path, given: Range, field: SchemaField) -> Iterator[Finding]:
    bounds = [(bound, getattr(given, bound)) for bound in ("min", "max")]
    wrong = [
        fault for bound, written in bounds if written is not None for fault in _value((*path, bound), field, written)
    ]
    yield from wrong
    if wrong or given.min is None or given.max is None:
        return
    low, high = literals.read(field.type, given.min), literals.read(field.type, given.max)
    exclusive = given.min_exclusive or given.max_exclusive
    if low > high or (low == high and exclusive):  # type: ignore[operator] # of one type
        yield Finding(path, f'no value lies between "{given.min}" and "{given.max}"')


def _value(path: Path, field: SchemaField, written: str) -> Iterator[Finding]:
    try:
        literals.read(field.type, written)
    except ValueError as error:
        yield Finding(path, f"{error}, which is the type of {field.name}")
