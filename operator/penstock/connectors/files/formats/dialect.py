"""A CSV dialect as regular expressions over bytes: where records and fields end, and what a field says.

A field is quoted where its first character is the quote. Inside quotes two quotes, or where `escape` is another
character, the escape and the quote, stand for one quote. Outside quotes the escape character means nothing: `C:\temp`
and `\\N` are read as they stand.

With another escape character, inside quotes: before a quote, before itself and before a line end it is left out, and
what follows it is read as it stands; before anything else both are read as they stand. That is what MySQL writes with
ENCLOSED BY '"', PostgreSQL with FORMAT csv and ESCAPE, and Spark's CSV writer.
"""

import re
from dataclasses import dataclass

from penstock.connectors.files.spec import CsvFormat


@dataclass(frozen=True)
class Dialect:
    """Expressions, each of which begins where a record begins.

    `run` matches whole records without line ends in their fields, blank lines included; `record` matches one record;
    `field` one quoted field. `escaped` is what the escape character makes inside quotes, None where it is the quote.
    """

    run: re.Pattern[bytes]
    record: re.Pattern[bytes]
    field: re.Pattern[bytes]
    quote: bytes
    delimiter: bytes
    escape: bytes
    escaped: re.Pattern[bytes] | None

    def cells(self, record: bytes) -> list[tuple[int, int]]:
        """Where each field of a well-formed record begins and ends, its quotes included, the line end left out."""
        end = len(record) - (2 if record.endswith(b"\r\n") else 1 if record.endswith(b"\n") else 0)
        cells, at = list[tuple[int, int]](), 0
        while True:
            quoted = self.field.match(record, at) if record[at : at + 1] == self.quote else None
            stop = quoted.end() if quoted else record.find(self.delimiter, at, end)
            stop = end if stop < 0 else stop
            cells.append((at, stop))
            if stop >= end:
                return cells
            at = stop + 1

    def value(self, cell: bytes) -> bytes:
        """What a field says: without its quotes and escapes."""
        if len(cell) < 2 or not cell.startswith(self.quote):
            return cell
        inside = cell[1:-1]
        if self.escaped is None:
            return inside.replace(self.quote * 2, self.quote)
        return self.escaped.sub(rb"\1", inside)

    def with_doubled_quotes(self, data: bytes) -> bytes:
        """Whole records, rewritten so that two quotes stand for one, and no escape character is left."""
        escaped = self.escaped
        if escaped is None or self.escape not in data or self.quote not in data:
            return data

        def rewritten(match: re.Match[bytes]) -> bytes:
            field = match.group()
            if self.escape not in field:
                return field
            return self.quote + self.value(field).replace(self.quote, self.quote * 2) + self.quote

        return self.field.sub(rewritten, data)


def dialect(form: CsvFormat) -> Dialect:
    """The dialect's expressions."""
    d, q, e = (re.escape(character.encode()) for character in (form.delimiter, form.quote, form.escape))
    begins, ends = rb"(?<![^%b\n])%b" % (d, q), rb"%b(?=[%b\r\n])" % (q, d)
    doubled = form.escape == form.quote
    inside, pair = (rb"[^%b]" % q, q + q) if doubled else (rb"[^%b" % q + e + b"]", e + rb"[\s\S]")
    flat_inside = inside.replace(b"[^", rb"[^\n", 1)
    flat_pair = pair if doubled else e + rb"[^\n]"
    bare = rb"[^%b\r\n]++|\r(?=\n)|(?<=[^%b\n])%b" % (q, d, q)
    field, flat_field = (
        rb"%b%b*+(?:%b%b*+)*+%b" % (begins, within, two, within, ends)
        for within, two in ((inside, pair), (flat_inside, flat_pair))
    )
    return Dialect(
        run=re.compile(rb"(?:(?:%b|%b)*+\n)*+" % (bare, flat_field)),
        record=re.compile(rb"(?:%b|%b)*+\n" % (bare, field)),
        field=re.compile(field),
        quote=form.quote.encode(),
        delimiter=form.delimiter.encode(),
        escape=form.escape.encode(),
        escaped=None if doubled else re.compile(e + rb"(" + e + rb"|" + q + rb"|\r?\n)"),
    )
