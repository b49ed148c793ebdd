"""What a rule is: one standard as code, with why it matters, how to mend a breach, and examples that are its tests."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import NOWHERE, Catalog, Place, Table
from cloudlab.standards.poolers import Pooler
from cloudlab.standards.scripts import Script, Statement
from cloudlab.standards.versions import Version
from cloudlab.standards.walking import walk


class Level(StrEnum):
    """How bad a breach is: an error fails the check, a warning does when asked to, a note never."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule has found: where, in which object, and the SQL or the words that mend it."""

    message: str
    at: Place = NOWHERE
    name: str = ""
    remedy: str = ""


class Earlier(list[Statement]):
    """What ran before a statement in its file, oldest first; asked for by kind by most rules."""

    def __init__(self) -> None:
        super().__init__()
        self._by_kind: dict[str, list[Statement]] = {}

    def append(self, statement: Statement) -> None:
        """Add the one that ran last."""
        super().append(statement)
        self._by_kind.setdefault(statement.kind, []).append(statement)

    def of_kind(self, kind: str) -> Sequence[Statement]:
        """Return those of one kind, oldest first."""
        return self._by_kind.get(kind, ())


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One statement of a migration, before it runs: the schema it meets, and what ran before it in its file."""

    catalog: Catalog
    statement: Statement
    script: Script
    earlier: Earlier = field(default_factory=Earlier)

    def table(self, relation: pb.RangeVar) -> Table | None:
        """Return the table that the statement names, when the model knows it."""
        return self.catalog.find(relation.schemaname, relation.relname)

    def is_new(self, table: Table | None) -> bool:
        """Whether the table was made by the same file or is temporary, so that nobody uses it yet."""
        return table is not None and (table.is_temporary or table.born == self.script.number)

    def together(self) -> list[Statement]:
        """Return what ran before it in its transaction."""
        number = self.statement.transaction
        return [one for one in self.earlier if one.transaction == number] if number is not None else []

    def found(self, message: str, *, name: str = "", remedy: str = "") -> Found:
        """Report the statement."""
        return Found(message, self.statement.at, name, remedy)


@dataclass(frozen=True, slots=True)
class Scan:
    """A plan reads all of a table, because no index finds the `rows` that a condition lets through."""

    table: Table
    rows: float
    condition: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said when it was asked to prepare a statement: an error and its SQLSTATE, or which plan it has."""

    problem: str = ""
    state: str = ""
    scans: tuple[Scan, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One statement that an application sends, the schema it is for, when there is one, and what its server says."""

    statement: Statement
    catalog: Catalog
    answer: Answer | None = None

    def nodes(self) -> Sequence[Message]:
        """Return all nodes of the statement, what stands first in front; they are gathered once for all rules."""
        return _nodes(self)

    def found(self, message: str, *, name: str = "", remedy: str = "") -> Found:
        """Report the query."""
        return Found(message, self.statement.at, name, remedy)


@lru_cache(maxsize=1)
def _nodes(query: Query) -> Sequence[Message]:
    return walk(query.statement.node)


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration as the table of its tool has it; `is_same` is None where the tool keeps no checksum.

    `is_whole` is False when the tool has noted that it did not run to its end.
    """

    version: str
    name: str
    numbers: tuple[int, ...]
    is_whole: bool = True
    is_same: bool | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What a statement that has not run yet does to a table that is there, how long by its size, and who waits."""

    at: Place
    table: str
    what: str
    size: str
    seconds: float
    waiting: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """Migrations beside the database they are for: what has been applied to it, and what the others would do."""

    tool: str
    applied: Sequence[Applied]
    files: Sequence[Version]
    work: Sequence[Work] = ()

    @property
    def pending(self) -> Sequence[Version]:
        """The files that have not run there, oldest first."""
        done = {one.numbers for one in self.applied}
        return [version for version in self.files if version.numbers not in done]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the directory of an installation places a tenant; `settled` when nothing about it is under way."""

    id: str
    tenant: str
    schema: str
    shard: str | None
    settled: bool


@dataclass(frozen=True, slots=True)
class Local:
    """A tenant that a shard knows; `settled` when it is served there and not about to leave."""

    id: str
    tenant: str
    schema: str
    settled: bool


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard, the tenants that it knows, and the schemas it has."""

    name: str
    local: Sequence[Local]
    schemas: frozenset[str]


@dataclass(frozen=True, slots=True)
class Fleet:
    """An installation: its directory, and those of its shards that were asked."""

    placed: Sequence[Placed]
    shards: Sequence[Shard]


@dataclass(frozen=True, slots=True)
class Server:
    """What only a server knows: its settings, roles and activity, as rows of named columns."""

    version: int
    settings: dict[str, str]
    facts: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])


OfSchema = Callable[[Catalog], Iterator[Found]]
OfStep = Callable[[Step], Iterator[Found]]
OfQuery = Callable[[Query], Iterator[Found]]
OfFiles = Callable[[Sequence[Script]], Iterator[Found]]
OfDeployment = Callable[[Deployment], Iterator[Found]]
OfFleet = Callable[[Fleet], Iterator[Found]]
OfServer = Callable[[Server], Iterator[Found]]
OfPooler = Callable[[Pooler], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One standard.

    Attributes:
        id: Two letters of its family and a number.
        title: What must hold, in a few words.
        heading: The heading of the standards it comes from.
        level: How bad a breach is.
        why: What happens otherwise; a fact, proven where it is about locks or rewrites.
        remedy: How to mend it.
        bad: Examples that it must report: SQL files, or queries for a query rule.
        good: Examples that it must not report, the known false alarms of other tools first.
        schema: Judges a model of a schema, live or folded.
        across: `schema` compares schemas with each other, or looks from one into others: it needs all of them. Others
            say of a schema what they say of one that is like it (`sharing`).
        step: Judges a statement of a migration.
        on: The kinds of statement that `step` has a word to say about; it is not asked about others. All when empty.
        once: One finding in a file is enough: what mends it mends all of them.
        mends: The remedy of a finding, where it is SQL, may run as it stands: nothing is lost and no code must change.
        files: Judges the migrations of folders beside each other; an example says `-- file: name` of each.
        deployed: Judges migrations beside their database. In its examples, what is before the first file is done there.
        query: Judges a statement of an application.
        asks: `query` needs the answer of a server, and so do its examples.
        fleet: Judges the directory and the shards of an installation of CloudLab.
        server: Judges a server.
        pooler: Judges a configuration of PgBouncer; its examples are such files.
    """

    id: str
    title: str
    heading: str
    level: Level
    why: str
    remedy: str
    bad: tuple[str, ...] = ()
    good: tuple[str, ...] = ()
    schema: OfSchema | None = None
    across: bool = False
    step: OfStep | None = None
    on: frozenset[str] = frozenset()
    once: bool = False
    mends: bool = False
    files: OfFiles | None = None
    deployed: OfDeployment | None = None
    query: OfQuery | None = None
    asks: bool = False
    fleet: OfFleet | None = None
    server: OfServer | None = None
    pooler: OfPooler | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A breach of a rule."""

    rule: Rule
    found: Found
    level: Level

    @property
    def at(self) -> Place:
        """Where."""
        return self.found.at

    @property
    def remedy(self) -> str:
        """How to mend this one, or else what mends its kind."""
        return self.found.remedy or self.rule.remedy
