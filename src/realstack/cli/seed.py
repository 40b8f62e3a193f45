"""`realstack seed`: what there is to do with seeds outside of a run."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realstack import registry
from realstack.attaching import up_name
from realstack.cli import exit_codes
from realstack.config import Settings, load_settings
from realstack.errors import NoEnvironment, RealstackError, SettingsError
from realstack.model import POSTGRES, Endpoint, ServiceSpec

if TYPE_CHECKING:
    from realstack.state.capture import Captured
    from realstack.state.capture.subset import Root

seed = typer.Typer(help="Seeds: write one from a live database.", no_args_is_help=True)


@seed.callback()
def _group() -> None:
    """Seeds: write one from a live database."""


@seed.command()
def capture(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .yaml file; any other name is a folder.")],
    table: Annotated[list[str] | None, typer.Option(help="Begin with this table's rows; may be repeated.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="An SQL condition on the table, one for each --table.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=0, help="At most so many rows of each table to begin with.")] = None,
    with_children: Annotated[
        bool, typer.Option("--with-children", help="Rows that refer to the chosen ones come along.")
    ] = False,
    exclude: Annotated[list[str] | None, typer.Option(help="A table that stays out, as migrations fill it.")] = None,
    mask: Annotated[list[str] | None, typer.Option(help="COLUMN=RULE, such as users.email=email.")] = None,
    unmasked: Annotated[list[str] | None, typer.Option(help="A column that is fine as it is: table.column.")] = None,
    from_url: Annotated[str | None, typer.Option(help="Another database than the one of `realstack up`.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over what is there.")] = False,
) -> None:
    """Write a seed from the rows of a live database; it is read only, and personal data are masked.

    Exit code 1 if columns look personal and nobody said what to do with them, or if there are no rows.
    """
    from realstack.state.capture import CaptureRequest
    from realstack.state.capture import capture as captured_from
    from realstack.state.capture.masking import MaskRules

    settings = load_settings()
    _assert_free(output, force=force)
    said = _masks(mask or ())
    request = CaptureRequest(
        key=settings.mask_salt.encode() if settings.mask_salt else secrets.token_bytes(32),
        roots=_roots(table or (), where or ()),
        rows=rows,
        with_children=with_children,
        exclude=(*settings.not_captured, *(exclude or ())),
        # What the command line says stands first, so that it wins over the settings' patterns.
        masks=MaskRules({**said, **settings.mask, **said}, (*settings.unmasked, *(unmasked or ()))),
    )
    captured = asyncio.run(captured_from(_source(settings, from_url), request))
    _refuse(captured)
    _write(captured, output)
    typer.echo(f"{output}: {sum(captured.counts.values())} rows of {len(captured.counts)} tables")
    for name, count in captured.counts.items():
        typer.echo(f"  {count:6} {name}")
    for column, rule in captured.masked.items():
        typer.echo(f"  masked {column} ({rule})")


def _refuse(captured: Captured) -> None:
    """End with exit code 1 where the rows must not be written, or there are none."""
    if captured.refused:
        typer.echo("nothing is written: these columns look personal, and nobody said what to do with them", err=True)
        for column, reason in captured.refused.items():
            typer.echo(f"  {column}: {reason}", err=True)
        typer.echo(
            "To mend it: for each, --mask COLUMN=RULE (email, phone, name, address, ip, hash, null, fixed:…) "
            "or --unmasked COLUMN; or the same in [tool.realstack.seed].",
            err=True,
        )
        raise typer.Exit(exit_codes.FAILED)
    if not captured.texts:
        typer.echo("nothing is written: there are no such rows", err=True)
        raise typer.Exit(exit_codes.FAILED)


def _source(settings: Settings, from_url: str | None) -> Endpoint:
    """The database to read: what `realstack up` lends, unless another one is named."""
    if from_url is not None:
        return _given(from_url)
    record = registry.find(up_name(settings.project))
    if record is None or not record.ready or POSTGRES not in record.standing:
        raise NoEnvironment(
            f"no Postgres is up for {settings.root}.",
            remedy="start it with `realstack up`, or name a database by --from-url.",
        )
    return record.standing[POSTGRES]


def _given(url: str) -> Endpoint:
    from realstack.providers.external import address_of
    from realstack.services.postgres import Postgres

    spec = ServiceSpec(POSTGRES, POSTGRES, POSTGRES, Postgres.default_port)
    try:
        return Postgres().endpoint(spec, address_of(spec, url), "external")
    except SettingsError as problem:
        raise SettingsError(
            f"the address of --from-url is not usable: {problem.__cause__}.",
            remedy="give a whole URL: postgresql://user:password@host:port/name.",
        ) from problem


def _roots(tables: Sequence[str], conditions: Sequence[str]) -> list[Root]:
    from realstack.state.capture.subset import Root

    if conditions and len(conditions) != len(tables):
        raise RealstackError(
            f"there are {len(conditions)} --where for {len(tables)} --table.",
            remedy="write one for each table, in their order; `true` stands for all rows.",
        )
    return [Root(table, where) for table, where in zip(tables, conditions or [""] * len(tables), strict=True)]


def _masks(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        column, _, rule = text.partition("=")
        if not column or not rule:
            raise RealstackError(f"--mask {text}: this is no rule.", remedy="write it as users.email=email.")
        found[column] = rule
    return found


def _assert_free(output: Path, *, force: bool) -> None:
    if _is_file(output):
        usable = not output.exists() or (output.is_file() and force)
    else:
        usable = not output.exists() or (output.is_dir() and (force or not any(output.iterdir())))
    if not usable:
        raise RealstackError(f"{output} is there already.", remedy="name another one, or say --force.")


def _is_file(output: Path) -> bool:
    return output.suffix.lower() in (".yaml", ".yml")


def _write(captured: Captured, output: Path) -> None:
    """Each file is first written beside its name: what was there stays until all of the new one is."""
    if _is_file(output):
        texts = {output: captured.as_file()}
    else:
        texts = {output / name: text for name, text in captured.as_files().items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.tmp")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
