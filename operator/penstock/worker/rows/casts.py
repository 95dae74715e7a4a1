"""A cast of a value to another type, as SQL: an attempt, and what of it is accepted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cast:
    """Two SQL expressions: `attempt` over the source value, `accept` over both; NULL where the value does not fit."""

    attempt: str
    accept: str

    def unless(self, value: str) -> "Cast":
        """The same, not computed where the column `value` has the value already."""
        attempt = f"CASE WHEN {value} IS NULL THEN {self.attempt} END"
        return Cast(attempt, f"CASE WHEN {value} IS NOT NULL THEN {value} ELSE {self.accept} END")
