"""The scalar types of the language, each with its bounds, so that the CRD and the models agree."""

import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, Field

import kubecron.schedule
import kubecron.zones

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3), "M": Decimal(10**6),
    "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip


def _rfc3339(written: str) -> str:
    """Check a time that a status holds; one that cannot be read is left out by `lenient.read`. Raises ValueError."""
    datetime.fromisoformat(written)
    return written


_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
LONGEST_DAYS = 366
"""The longest duration, in days."""


def _cron(text: str) -> str:
    """A schedule that Kubernetes' CronJob accepts; the two things of its own that it also takes are refused."""
    if text.startswith("@every"):
        raise ValueError(f'"{text}" is not accepted: an interval has no fixed times; {_instead(text)}')
    if "TZ" in text:
        zone = re.search(r"TZ=(\S*)", text)
        field = f"timeZone: {zone[1]}" if zone and zone[1] else "timeZone"
        raise ValueError(f'"{text}" names a time zone in the schedule; remove it there and set {field} beside it')
    try:
        kubecron.schedule.parse(text)
    except kubecron.schedule.InvalidSchedule as invalid:
        place = f"the {invalid.field}: " if invalid.field else ""
        raise ValueError(f'"{text}" is not a schedule: {place}{invalid.problem}; for instance "15 * * * *"') from None
    return text


def _instead(every: str) -> str:
    """What to write for `@every 15m`, where five fields can say it."""
    match = re.fullmatch(r"@every ([1-9][0-9]?)(m|h)", every)
    number, unit = (int(match[1]), match[2]) if match else (0, "")
    if (number, unit) in ((60, "m"), (1, "h")):
        return 'write "@hourly"'
    if number and unit == "m" and 60 % number == 0:
        return f'write "*/{number} * * * *"'
    if number and unit == "h" and 24 % number == 0:
        return f'write "0 */{number} * * *"' if number < 24 else 'write "@daily"'
    return 'write five fields, for instance "*/15 * * * *"'


def _zone(name: str) -> str:
    try:
        kubecron.zones.load(name)
    except kubecron.zones.UnknownZone:
        meant = kubecron.zones.similar(name)
        remedy = f'did you mean "{meant}"?' if meant else 'for instance "Europe/Paris"'
        raise ValueError(f'"{name}" is not a time zone of the IANA database; {remedy}') from None
    return name


def _without_secrets(url: str) -> str:
    """The URL, which has no user, query or fragment: whoever reads the object would read what stands there."""
    authority = url.partition("://")[2].partition("/")[0]
    if "@" in authority:
        raise ValueError(
            "a URL has no user and no password before its host; put them into a Secret and name it in auth"
        )
    if "?" in url or "#" in url:
        raise ValueError(
            "a URL has no ? and no #: whoever reads the object would read a token or signature there. Leave it out and "
            "name a Secret in auth; for a signed link to a bucket write the URL of the bucket, as s3://bucket/folder/"
        )
    return url


def redacted(text: str) -> str:
    """A text in which every URL has lost what may be secret: what stands before @, and what follows ? or #."""
    return re.sub(r"[?#][^\s\"']+", "?***", _AUTHORITY.sub("://***@", text)) if "://" in text else text


def _lasting(duration: str) -> str:
    if seconds(duration) > LONGEST_DAYS * _UNITS["d"]:
        raise ValueError(f"{duration} is too long; at most {LONGEST_DAYS}d")
    return duration


def seconds(duration: str) -> int:
    """The length of a duration such as `90s`, `15m`, `1h30m` or `30d`, in seconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", duration))


def ratio(percent: str) -> Fraction:
    """The fraction that a percentage such as `5%` or `0.5%` says, 0 to 1, exactly: 29 of 100 are 29%."""
    return Fraction(percent.removesuffix("%")) / 100


def quantity(text: str) -> Decimal | str:
    """The number that a Kubernetes quantity such as `500m` or `1Gi` says; the text itself if it is none."""
    for length in (2, 1, 0):
        number, suffix = text[: len(text) - length], text[len(text) - length :]
        if length == 0 or suffix in _SUFFIXES:
            try:
                return (Decimal(number) * _SUFFIXES.get(suffix, Decimal(1))).normalize()
            except InvalidOperation:
                return text
    return text


_AUTHORITY = re.compile(r"://[^\s/]*@")

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
TableName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
FieldName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Word = Annotated[str, Field(max_length=64)]
"""One word of a list that later versions may make longer: what is read back from the cluster keeps unknown ones."""

ShortText = Annotated[str, Field(max_length=256)]
LongText = Annotated[str, Field(max_length=1024)]
Expression = Annotated[str, Field(min_length=1, max_length=2048)]
Url = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_without_secrets)]
"""A URL without credentials. A field says which schemes it takes, in `pattern` and, for its CRD, in
`json_schema_extra`: pydantic leaves the pattern of a type with a validator out of the schema.
"""

DURATION = r"^[1-9][0-9]*(d([0-9]+h)?([0-9]+m)?([0-9]+s)?|h([0-9]+m)?([0-9]+s)?|m([0-9]+s)?|s)$"
"""The first number is not 0, so the whole is a second at least; patterns of a CRD know no lookahead."""

Duration = Annotated[str, Field(min_length=2, max_length=32, pattern=DURATION), AfterValidator(_lasting)]
Delay = Annotated[str, Field(min_length=2, max_length=32, pattern=f"^0s$|{DURATION}"), AfterValidator(_lasting)]
"""A duration that may be `0s`."""
Lookback = Annotated[
    str, Field(min_length=1, max_length=32, pattern=f"^[1-9][0-9]{{0,17}}$|{DURATION}"), AfterValidator(_lasting)
]
"""How far before a mark: a duration, or a whole number."""
Percent = Annotated[str, Field(max_length=16, pattern=r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$")]
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(n|u|m|k|[KMGTPE]i|[MGTPE]|e[0-9]+)?$")]
Bound = Annotated[str, Field(min_length=1, max_length=64)]
CRON = (
    "^@(yearly|annually|monthly|weekly|daily|midnight|hourly)$"
    "|^ *([0-9*?,/+-]+ +){3}([A-Za-z]{3}|[0-9*?,/+-])+ +([A-Za-z]{3}|[0-6*?,+-]|/[+]?[0-9]+)+ *$"
    "|[*?]-"
    "|[^ -~]"
)
"""The shape of a schedule, for the API server; all that Kubernetes accepts has it.

Of the bounds it knows only 0 to 6 of the last field. Its last two lines let through what the parser reads in ways of
its own: whatever follows `*-`, and white space or letters beyond ASCII.
"""
Cron = Annotated[
    str,
    Field(min_length=1, max_length=512, json_schema_extra={"pattern": CRON}),
    AfterValidator(_cron),
]
TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_zone)]
Nonce = Annotated[str, Field(max_length=128)]
ASCII_CHARACTER = r"^[\x01-\x09\x0B\x0C\x0E-\x7F]$"
"""One that is no line end."""
OneCharacter = Annotated[str, Field(min_length=1, max_length=1, pattern=ASCII_CHARACTER)]
Time = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"}), AfterValidator(_rfc3339)]
Generation = Annotated[
    int, Field(description="The metadata.generation that this status is about; -1 before the first reconciliation.")
]
