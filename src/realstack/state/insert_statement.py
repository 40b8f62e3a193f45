"""The statement that puts JSON rows into a table: the server turns values into the columns' types."""

from __future__ import annotations

from realstack.state.catalog import Table, quote_name


def insert_statement(
    table: Table, columns: tuple[str, ...], *, returning: bool = False, exact: frozenset[str] = frozenset()
) -> str:
    """Inserts rows of those columns from ``$1``, a JSON array of objects; ``returning`` gives each back as JSON.

    ``exact`` are columns whose values are texts of JSON, to be taken as they are spelled.
    """
    returned = " RETURNING to_jsonb(r)" if returning else ""
    if not columns:
        # A row of nothing but defaults.
        return f"INSERT INTO {table.quoted} AS r SELECT FROM jsonb_array_elements($1){returned}"
    names = ", ".join(quote_name(column) for column in columns)
    if exact:
        # What populates a record makes NULL of JSON's null, and spells a json column anew; so that comes as text.
        values = (f"(e.row ->> {_text(each)})::json" if each in exact else f"p.{quote_name(each)}" for each in columns)
        rest = " - ".join(["e.row", *(_text(each) for each in sorted(exact))])
        chosen = (
            f"SELECT {', '.join(values)} FROM jsonb_array_elements($1) WITH ORDINALITY AS e (row, nr), "  # noqa: S608 - quoted names
            f"jsonb_populate_record(NULL::{table.quoted}, {rest}) AS p ORDER BY e.nr"
        )
    else:
        chosen = f"SELECT {names} FROM jsonb_populate_recordset(NULL::{table.quoted}, $1)"  # noqa: S608 - quoted names
    return f"INSERT INTO {table.quoted} AS r ({names}) OVERRIDING SYSTEM VALUE {chosen}{returned}"


def _text(name: str) -> str:
    escaped = name.replace("'", "''")
    return f"'{escaped}'"
