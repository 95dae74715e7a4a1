"""The scalar types of the language, each with its bounds, so that the CRD and the models agree."""

import re
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SECRET_IN_QUERY = re.compile(r"(?i)[?&](x-amz-|sig=|signature=|token=|password=|secret|accesskey|api_?key=)")


def _cron(text: str) -> str:
    """A cron expression of five fields, read as Kubernetes' CronJob reads it, less its `@every` forms."""
    try:
        if len(text.split()) != 5:
            raise CronSimError("it needs five fields: minute hour day month weekday")
        CronSim(text, _EPOCH)
    except CronSimError as error:
        raise ValueError(f'"{text}" is not a cron expression ({error}); for instance "15 * * * *"') from None
    return text


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f'"{name}" is not a time zone of the IANA database; for instance "Europe/Paris"') from None
    return name


def _without_secrets(url: str) -> str:
    authority = url.partition("://")[2].partition("/")[0]
    if "@" in authority or _SECRET_IN_QUERY.search(url):
        raise ValueError("a URL must not carry credentials or signatures; put them into a Secret and name it in auth")
    return url


def seconds(duration: str) -> int:
    """The length of a duration such as `90s`, `15m`, `1h30m` or `30d`, in seconds."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", duration))


def ratio(percent: str) -> float:
    """The fraction that a percentage such as `5%` or `0.5%` says: 0 to 1."""
    return float(percent.removesuffix("%")) / 100


_EPOCH = datetime(2000, 1, 1)

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
TableName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
FieldName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
ShortText = Annotated[str, Field(max_length=256)]
LongText = Annotated[str, Field(max_length=1024)]
Expression = Annotated[str, Field(min_length=1, max_length=2048)]
Url = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_without_secrets)]
Duration = Annotated[str, Field(max_length=32, pattern=r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$", min_length=2)]
Percent = Annotated[str, Field(max_length=16, pattern=r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$")]
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(n|u|m|k|[KMGTPE]i|[MGTPE]|e[0-9]+)?$")]
Bound = Annotated[str, Field(min_length=1, max_length=64)]
Cron = Annotated[str, Field(min_length=9, max_length=128), AfterValidator(_cron)]
TimeZone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_zone)]
Nonce = Annotated[str, Field(max_length=128)]
OneCharacter = Annotated[str, Field(min_length=1, max_length=1)]
Time = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"})]
Generation = Annotated[
    int, Field(description="The metadata.generation that this was worked out from; -1 before the first time.")
]
