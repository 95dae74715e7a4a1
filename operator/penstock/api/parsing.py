"""How texts of the source become values: for all fields of a Dataset, and for one field, which takes precedence."""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.language import literals
from penstock.language.model import Faults, Model
from penstock.language.scalars import ShortText, TimeZone

Words = Annotated[list[ShortText], Field(min_length=1, max_length=32)]


class Booleans(Model):
    """The texts that mean true and false. All other texts are bad values."""

    true_values: Annotated[Words, Field(description='Texts that mean true, for instance "J". Case counts.')]
    false_values: Annotated[Words, Field(description='Texts that mean false, for instance "N". Case counts.')]

    @model_validator(mode="after")
    def _no_text_means_both(self) -> Self:
        both = [word for word in self.true_values if word in self.false_values]
        if both:
            raise ValueError(f'"{both[0]}" is in trueValues and in falseValues')
        return self


Trim = Annotated[
    bool | None,
    Field(
        description="Remove blanks, tabs, line ends and other white space from both ends of a text, before it is "
        "compared with nullValues and read as the field's type. Default: false."
    ),
]
BooleanWords = Annotated[
    Booleans | None,
    Field(
        description="The texts that mean true and false in a boolean field. Default: true, t, yes, y, 1 and false, f, "
        "no, n, 0, each also written True and TRUE."
    ),
]
Zone = Annotated[
    TimeZone | None,
    Field(
        description="The time zone of texts without an offset in a timestamptz field, by its IANA name: "
        "America/New_York. A text with an offset keeps its own. A time that the zone's clocks skip or show twice, "
        "because they are changed, is a bad value. Default: a text without an offset is a bad value."
    ),
]
DecimalSeparator = Annotated[
    Literal[".", ","] | None,
    Field(
        description="The decimal separator of texts in fields of a number type, and in casts of text to one in their "
        "`from`. Default: that of the format, else a point."
    ),
]
ThousandsSeparator = Annotated[
    Literal[".", ",", " ", "'", "_", "\u00a0", "\u202f", "\u2019"] | None,
    Field(
        description="The thousands separator of such texts, as in 1.234.567. Numbers without it are read too. "
        "Default: that of the format, else none."
    ),
]
NullValues = Annotated[list[ShortText] | None, Field(max_length=32)]
Formats = Annotated[list[ShortText] | None, Field(min_length=1, max_length=8)]


class Parsing(Model):
    """How texts of the source become values, for all fields. A field's own setting takes precedence."""

    null_values: Annotated[
        NullValues,
        Field(description='Texts that mean no value, for instance "NA". nullValues of a field replaces this list.'),
    ] = None
    trim: Trim = None
    booleans: BooleanWords = None
    date_formats: Annotated[
        Formats,
        Field(
            description='Formats of texts in date fields, in strftime notation: "%d.%m.%Y". The first that fits is '
            "used. `formats` of a field replaces this list. Default: ISO 8601."
        ),
    ] = None
    timestamp_formats: Annotated[
        Formats,
        Field(
            description="Formats of texts in timestamp and timestamptz fields, in strftime notation: "
            '"%d.%m.%Y %H:%M:%S". A format with %z or %Z is used for timestamptz fields alone. `formats` of a field '
            "replaces this list. Default: ISO 8601."
        ),
    ] = None
    time_zone: Zone = None
    decimal: DecimalSeparator = None
    thousands: ThousandsSeparator = None

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        faults = [*_faults_of_formats("dateFormats", self.date_formats)]
        faults += _faults_of_formats("timestampFormats", self.timestamp_formats)
        if any(literals.has_offset(written) for written in self.date_formats or []):
            faults.append("dateFormats: %z and %Z go with timestampFormats; a date would lose the offset")
        faults += separators_fault(self.decimal, self.thousands)
        if faults:
            raise Faults(faults)
        return self


def _faults_of_formats(name: str, formats: list[str] | None) -> Iterator[str]:
    for written in formats or []:
        try:
            literals.check_format(written)
        except ValueError as error:
            yield f"{name}: {error}"


def separators_fault(decimal: str | None, thousands: str | None) -> list[str]:
    """What is wrong with two separators; a decimal separator that is not set may still be a comma by the format."""
    if thousands is None or thousands != decimal:
        return []
    return ["thousands must differ from decimal"]
