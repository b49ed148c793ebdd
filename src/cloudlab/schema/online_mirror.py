"""Two tables that are kept equal: a trigger for what changes, a walk over the blocks for what was there before.

Why no row is lost: the copy locks each row it reads against deletion and leaves alone what the trigger has written, and
the trigger waits for a row that the copy is just writing.

Standard: §6.2 Schema Changes
"""

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from cloudlab.schema.online_steps import Kind, Step, compose, names, raw

_BODY = """
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        TRUNCATE {target};
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE' AND ROW({old_key}) IS DISTINCT FROM ROW({new_key}) THEN
        DELETE FROM {target} AS t WHERE ({target_key}) = ({old_key});
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO {target} AS t ({columns}) OVERRIDING SYSTEM VALUE
        SELECT {values} FROM (SELECT NEW.*) AS r
        ON CONFLICT ({key}) DO {action};
    END IF;
    RETURN NULL;
END
"""
_LOSING_BODY = """
BEGIN
    {body}
EXCEPTION WHEN data_exception THEN
    -- The old type has no such value. The write counts; a way back without it would lose it.
    RAISE WARNING 'a row of {source_text} has no place in the old table: rolling back would lose it';
    RETURN NULL;
END
"""
_COPY = """
INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {values} FROM (
    SELECT * FROM ONLY {source} WHERE ctid >= @first@ AND ctid < @last@ FOR KEY SHARE
) AS r ON CONFLICT DO NOTHING
"""
_PROOF = """
SELECT CASE WHEN a.rows = b.rows AND a.sum IS NOT DISTINCT FROM b.sum THEN 0 ELSE greatest(abs(a.rows - b.rows), 1) END
FROM (SELECT count(*) AS rows, sum(hashtextextended(ROW({values})::text, 0)::numeric) AS sum FROM {source} AS r) AS a,
     (SELECT count(*) AS rows, sum(hashtextextended(ROW({columns})::text, 0)::numeric) AS sum FROM {target}) AS b
"""


@dataclass(frozen=True, slots=True)
class Mirror:
    """What changes in `source` is written to `target` too.

    Attributes:
        function: The trigger's function, made beside the target.
        columns: What both have; `expressions` say how a column of the target is made of a row, when it is not the same.
        key: By which rows are found in the target; unique there.
        losing: Values that the target cannot hold stay out of it, with a warning, instead of failing the client.
    """

    source: sql.Identifier
    target: sql.Identifier
    function: sql.Identifier
    columns: tuple[str, ...]
    key: tuple[str, ...]
    expressions: Mapping[str, str]
    losing: bool = False

    def _values(self) -> sql.Composable:
        return sql.SQL(", ").join(
            raw(f"({self.expressions[name]})") if name in self.expressions else sql.Identifier("r", name)
            for name in self.columns
        )

    def _body(self) -> str:
        others = [name for name in self.columns if name not in self.key]
        sets = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in others)
        body = compose(
            _BODY,
            target=self.target,
            key=names(self.key),
            columns=names(self.columns),
            values=self._values(),
            old_key=_prefixed("OLD", self.key),
            new_key=_prefixed("NEW", self.key),
            target_key=_prefixed("t", self.key),
            action=sql.SQL("UPDATE SET {}").format(sets) if others else sql.SQL("NOTHING"),
        )
        if not (self.losing and self.expressions):
            return body
        source = raw(self.source.as_string(None).replace("'", "''").replace("%", "%%"))
        return compose(_LOSING_BODY, body=raw(f"{body.strip()};"), source_text=source)

    def install(self) -> tuple[str, ...]:
        """Return the statements that begin it. They fire for replicated rows too, and with the rights of the owner."""
        parts = {"function": self.function, "source": self.source, "body": sql.Literal(self._body())}
        return (
            compose(
                "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
                " SET search_path = pg_catalog, pg_temp AS {body}",
                **parts,
            ),
            compose("REVOKE ALL ON FUNCTION {function}() FROM PUBLIC", **parts),
            compose(
                "CREATE TRIGGER online_rows AFTER INSERT OR UPDATE OR DELETE ON {source}"
                " FOR EACH ROW EXECUTE FUNCTION {function}()",
                **parts,
            ),
            compose(
                "CREATE TRIGGER online_truncate AFTER TRUNCATE ON {source}"
                " FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
                **parts,
            ),
            compose("ALTER TABLE {source} ENABLE ALWAYS TRIGGER online_rows", **parts),
            compose("ALTER TABLE {source} ENABLE ALWAYS TRIGGER online_truncate", **parts),
        )

    def uninstall(self) -> tuple[str, ...]:
        """Return the statements that end it."""
        return (
            compose("DROP TRIGGER IF EXISTS online_rows ON {source}", source=self.source),
            compose("DROP TRIGGER IF EXISTS online_truncate ON {source}", source=self.source),
        )

    def remove(self) -> tuple[str, ...]:
        """Return the statements that end it and forget its function."""
        return (*self.uninstall(), compose("DROP FUNCTION IF EXISTS {function}()", function=self.function))

    def copy(self, walks: str) -> Step:
        """Return the walk that brings the rows over which were there before, and the proof that both are equal."""
        parts = {"target": self.target, "source": self.source, "columns": names(self.columns), "values": self._values()}
        statement = compose(_COPY, **parts).replace("%", "%%")
        bounded = statement.replace("@first@", "%(first)s::tid").replace("@last@", "%(last)s::tid")
        return Step(
            "copy the rows",
            (bounded,),
            Kind.BATCHES,
            says="ROW SHARE, and the rows of a batch against deletion for about 10 ms",
            walks=walks,
            proof=compose(_PROOF, **parts),
        )


def _prefixed(prefix: str, columns: tuple[str, ...]) -> sql.Composable:
    return sql.SQL(", ").join(sql.SQL("{}.{}").format(raw(prefix), sql.Identifier(name)) for name in columns)
