"""`cloudlab schema`: the data dictionary and the diagram of a schema, and where two schemas differ.

Standard: §11.3 Operational Excellence, §4.1 Tenant-Specific Schemas
"""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer
from psycopg.conninfo import conninfo_to_dict

from cloudlab import config as configuration
from cloudlab.cli import drifting, terminal
from cloudlab.cli.migrate import DatabaseOption, DirOption, TargetOption, where
from cloudlab.cli.terminal import Json
from cloudlab.errors import InvalidInput
from cloudlab.schema.files import Tree
from cloudlab.schema.places import find_targets
from cloudlab.standards import diagram, dictionary, differences, folders, reading
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.differences import Difference
from cloudlab.standards.files import is_database

app = typer.Typer(
    help="Describe schemas in words and drawings, and compare them.", no_args_is_help=True, rich_markup_mode="rich"
)
_TREES = {f"tree:{tree}": tree for tree in (Tree.CONTROL, Tree.SHARD, Tree.TENANT)}
_SOURCE = (
    "A postgresql:// URL, a folder of migrations, control, shard:NAME, tenant:NAME/SCHEMA, "
    f"or what CloudLab ships: {', '.join(_TREES)}."
)

SchemaOption = Annotated[
    list[str] | None,
    typer.Option(
        "--schema", metavar="NAME", help="Only this; may be repeated. Of files: where names without a schema go.",
        show_default=False,
    ),
]  # fmt: skip


@app.command(
    epilog="Examples:  [bold]cloudlab schema describe[/]  ·  "
    "[bold]cloudlab schema describe postgresql://me@db.example/app --out docs/schema[/]  ·  "
    "[bold]cloudlab schema describe migrations/[/]"
)
def describe(
    sources: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE…]", help=_SOURCE, show_default=False)] = None,
    schema: SchemaOption = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where; made when missing.")] = Path(
        "schema"
    ),
    as_json: Json = False,
) -> None:
    """Write the data dictionary (NAME.md, NAME.html) and the ER diagram (NAME.mmd, NAME.svg) of each source.

    Everything is said by the comments on tables and columns; a database is read in a read-only session. Without a
    source it is what CloudLab itself ships.
    """
    written: list[Path] = []
    out.mkdir(parents=True, exist_ok=True)
    for source in sources or ["tree:control", "tree:shard"]:
        catalog, own = terminal.run(_read(source, schema or ()))
        name = _name(source)
        tables = diagram.drawn(catalog, own)
        for ending, text in {
            "md": dictionary.markdown(catalog, name, own),
            "html": dictionary.html(catalog, name, own),
            "mmd": diagram.mermaid(tables),
            "svg": diagram.svg(tables),
        }.items():
            path = out / f"{name}.{ending}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    if as_json:
        terminal.print_json([str(path) for path in written])
    else:
        for path in written:
            typer.echo(str(path))


@app.command(
    epilog="Examples:  [bold]cloudlab schema diff migrations/ postgresql://me@db.example/app[/]  ·  "
    "[bold]cloudlab schema diff postgresql://me@test/app postgresql://me@live/app --json[/]"
)
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help=_SOURCE, show_default=False)],
    after: Annotated[str, typer.Argument(metavar="B", help="What it is compared with.", show_default=False)],
    schema: SchemaOption = None,
    as_json: Json = False,
) -> None:
    """Say what would have to change in A to become B; exits with 1 when there is a difference.

    Two databases are compared to the letter. With files on a side, expressions are compared by what they say, and
    grants, partitions and what a function has done to a table it was called with are left out: files do not tell.
    """

    async def read() -> list[Difference]:
        (one, _), (other, _) = await _read(before, schema or ()), await _read(after, schema or ())
        return differences.differences(one, other, schema or ())

    found = terminal.run(read())
    if as_json:
        terminal.print_json({"same": not found, "differences": [asdict(one) for one in found]})
    else:
        _print(found)
        typer.echo(f"{len(found)} differences from {_name(before)} to {_name(after)}.", err=True)
    if found:
        raise typer.Exit(terminal.CHECK_FAILED)


@app.command(
    epilog="Examples:  [bold]cloudlab schema drift[/]  ·  [bold]cloudlab schema drift --target tenant --json[/]  ·  "
    "[bold]cloudlab schema drift --dir migrations --database URL --schema 'tenant_*'[/]"
)
def drift(
    target: TargetOption = None,
    folder: DirOption = None,
    database: DatabaseOption = None,
    schema: SchemaOption = None,
    as_json: Json = False,
) -> None:
    """Compare every place with what its applied migrations make, and with its neighbours; exits with 1 if one differs.

    A place that lacks migrations is no drift: `cloudlab migrate status` tells. Of three places and more that stand
    alike, each is compared to the letter with what most of them have.
    """
    found = terminal.run(drifting.drift(where(target, folder, database, schema)))
    different = [one for one in found if one.differences]
    if as_json:
        places = [{"target": one.target, "differences": [asdict(each) for each in one.differences]} for one in found]
        terminal.print_json({"same": not different, "targets": places})
    else:
        for one in different:
            terminal.out.print(one.target, style="bold", markup=False, highlight=False)
            _print(one.differences)
        typer.echo(f"{len(different)} of {len(found)} places differ.", err=True)
    if different:
        raise typer.Exit(terminal.CHECK_FAILED)


def _print(found: Sequence[Difference]) -> None:
    signs = {"missing in the first": ("+", "green"), "missing in the second": ("-", "red"), "changed": ("~", "yellow")}
    for one in found:
        sign, style = signs[one.change]
        terminal.out.print(f"{sign} {one.kind} {one.name}", style=style, markup=False, highlight=False, soft_wrap=True)
        for field, a, b in one.fields:
            for mark, value in zip("-+", _first_different(a, b), strict=True):
                text = f"    {field} {mark} {value}"
                terminal.out.print(text, markup=False, highlight=False, soft_wrap=True)


def _first_different(a: str, b: str) -> tuple[str, str]:
    """Return of long texts, such as the bodies of functions, the first line that differs on both sides."""
    for one, other in zip_longest(a.splitlines(), b.splitlines(), fillvalue=""):
        if one != other:
            return one.strip(), other.strip()
    return a, b


async def _read(source: str, schemas: Sequence[str]) -> tuple[Catalog, list[str]]:
    """Return a model and the schemas of it that are wanted; none named: all."""
    if source in _TREES:
        return folders.of_tree(_TREES[source]), list(schemas)
    if is_database(source):
        async with reading.connect(source) as conn:
            return await reading.read_schema(conn, schemas or None), list(schemas)
    if Path(source).exists():  # noqa: ASYNC240  once, at the beginning of a command
        return folders.of_folder(Path(source), schemas[0] if schemas else "public"), list(schemas)
    places = await find_targets(configuration.load(), source)
    if len({place.url for place in places}) > 1 or places[0].source is Tree.CLICKHOUSE:
        raise InvalidInput(f"{source} is not one PostgreSQL database", hint="Name one, such as shard:NAME.")
    wanted = [*(schemas or [place.schema for place in places])]
    async with reading.connect(places[0].url) as conn:
        return await reading.read_schema(conn, wanted), wanted


def _name(source: str) -> str:
    """Name files after a source; a password never stands in it."""
    if source in _TREES:
        return str(_TREES[source])
    if is_database(source):
        return str(conninfo_to_dict(source).get("dbname") or "database")
    return (Path(source).resolve().name if Path(source).exists() else source).replace("/", "_").replace(":", "_")
