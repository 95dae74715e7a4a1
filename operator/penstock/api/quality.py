"""When a row is good, beyond the rules of each field, and how many bad rows are too many."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.language.model import Model
from penstock.language.scalars import Expression, Percent

RuleName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9_-]*$")]


class RowRule(Model):
    """A condition over the fields of a row."""

    name: Annotated[
        RuleName,
        Field(
            description="The rule's name: lower-case letters, digits, - and _. It is the reason code in the quarantine."
        ),
    ]
    expression: Annotated[
        Expression,
        Field(
            description="A boolean SQL expression over the Dataset's fields, such as arrived >= departed. A row keeps "
            "the rule if it is true or null, as with CHECK in SQL; a row for which it is false, or cannot be computed, "
            "breaks the rule. Rows with a bad value are not compared with rules."
        ),
    ]
    severity: Annotated[
        Literal["fail", "warn"] | None,
        Field(
            description="fail: a row that breaks the rule is bad. warn: it is loaded, and the condition QualityOK and "
            "the run's log say how many rows break the rule. Default: fail."
        ),
    ] = None


class Quality(Model):
    """Rules for whole rows, which share of bad rows is too large, and what happens with inputs that cannot be read."""

    max_bad_ratio: Annotated[
        Percent,
        Field(
            description='Largest share of the rows of a run that may be bad, as a percentage: "5%". Above it the '
            "run fails with TooManyBadRows, nothing is committed to this Dataset, and the next run reads the same "
            'files again. With "100%" no run fails for its bad rows.'
        ),
    ] = "50%"
    refused_inputs: Annotated[
        Literal["setAside", "fail"] | None,
        Field(
            description="What happens with an input that cannot be read at all, such as a file with another header. "
            "setAside: it becomes one entry in the quarantine and the other inputs are loaded; it is read again "
            "when it or the schema changes. fail: the run fails. With writeMode replace or snapshot the run always "
            "fails. Default: setAside."
        ),
    ] = None
    rules: Annotated[
        list[RowRule] | None,
        Field(max_length=64, description="Rules that a row must keep; their names are unique."),
    ] = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.rules or []]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f'two rules have the name "{twice[0]}"')
        return self
