"""Write what the documentation says about the code from the code itself; `--check` refuses a difference.

docs/standards.md, docs/reference/{settings,errors,commands,rules}.md, docs/reference/schema/{control,shard}.{md,svg}
"""

import dataclasses
import inspect
import sys
from functools import partial
from pathlib import Path
from typing import Any

import typer.main
from typer.core import TyperGroup

from cloudlab import errors
from cloudlab.cli.commands import app
from cloudlab.config import Housekeeping, Limits, Payments, variable
from cloudlab.schema.files import Tree
from cloudlab.standards import checking, diagram, dictionary, folders, suppressing
from cloudlab.standards.rules import every

sys.path.insert(0, str(Path(__file__).parent))
from standards import HEADINGS, ROOT, TO_COME, citations, homeless

MADE = "<!-- Made by scripts/make_docs.py; edit the code instead. -->\n\n"


def standards_page() -> str:
    """Lead from each heading of the standards to the places that meet it."""
    homes, _ = citations()
    lines = ["# Where the standards are met\n", "Each heading, and the modules, migrations and tests that cite it.\n"]
    for number, (name, parts) in HEADINGS.items():
        lines.append(f"\n## §{number} {name}\n")
        for title in (name, *parts):
            places = homes.get(f"{number} {title}", [])
            if places:
                listed = ", ".join(f"[{place}](../{place})" for place in places)
                lines.append(f"- {title}: {listed}")
            elif f"{number} {title}" in TO_COME:
                lines.append(f"- {title}: to come")
    return MADE + "\n".join(lines) + "\n"


def errors_page() -> str:
    """List every error: code, HTTP status, whether trying again may help, meaning, remedy."""
    lines = [
        "# Errors\n",
        "| code | error | HTTP | try again | what it means | what to do |",
        "|---|---|---|---|---|---|",
    ]
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.CloudLabError)]
    for kind in sorted(kinds, key=lambda one: one.code):
        again = "yes" if kind.retryable else "no"
        meaning = (kind.__doc__ or "").strip()
        lines.append(f"| {kind.code} | {kind.__name__} | {kind.status} | {again} | {meaning} | {kind.hint} |")
    return MADE + "\n".join(lines) + "\n"


def settings_page() -> str:
    """List every setting with its environment variable and default."""
    lines = [
        "# Settings\n",
        "Order, later wins: defaults, `cloudlab.toml` (or what `cloudlab up` wrote), the environment.\n",
        "```toml",
        "[control]                    # knows tenants, shards and placements",
        'app_url = "postgresql://…"   # login in application_readwrite and application_readonly',
        'owner_url = "postgresql://…" # owns the schema, runs migrations',
        'worker_url = "postgresql://…" # login in platform_worker',
        'readonly_url = "postgresql://…" # login in application_readonly; may be a replica',
        "",
        "[[shards]]                   # one for each database that holds tenants",
        'name = "eu_west_001"',
        'region = "eu-west-1"',
        "# app_url, owner_url, worker_url, readonly_url as above",
        '# replica_url = "…"          # the readonly login of a streaming standby, for readonly sessions',
        "",
        "[cache]",
        'url = "rediss://…"           # Valkey or Redis 7 or newer',
        "",
        "[analytics]",
        'url = "https://user:password@host:8443/cloudlab"  # ClickHouse 23 or newer',
        "",
        "[encryption]                 # wraps the keys of personal data; the highest version is used",
        'keys = {1 = "…"}             # openssl rand -base64 32; keep an old one until `cloudlab key rotate` has ended',
        '# keys_file = "…"            # or lines of that kind in a file of their own',
        "",
        "[limits]",
        *(f"{item.name} = {item.default}" for item in dataclasses.fields(Limits)),
        "",
        "[payments]                   # who takes the money: sandbox moves none",
        'provider = "sandbox"         # or stripe',
        'stripe_api_key = "sk_…"',
        'stripe_webhook_secret = "whsec_…"',
        "",
        "[housekeeping]               # what workers do beside; a moved tenant's source is cleared after the grace",
        *(f"{item.name} = {item.default}" for item in dataclasses.fields(Housekeeping)),
        "```\n",
        "| variable | meaning |",
        "|---|---|",
        "| CLOUDLAB_CONFIG | path of the file; by default `./cloudlab.toml` |",
        "| CLOUDLAB_STATE_DIR | folder of the embedded stack; by default `./.cloudlab` |",
        "| CLOUDLAB_PG_BIN | folder with the PostgreSQL programs the embedded stack uses |",
        "| CLOUDLAB_OS_USER | account the servers run under when started by root |",
        "| CLOUDLAB_SHARDS | `name:region,…`: shards beside those of the file |",
        "| CLOUDLAB_CONTROL_APP_URL, …_OWNER_URL, …_WORKER_URL, …_READONLY_URL | the control database |",
        "| CLOUDLAB_SHARD_NAME_APP_URL, … | the logins of shard NAME, and its replica: …_REPLICA_URL |",
        "| CLOUDLAB_CACHE_URL, CLOUDLAB_ANALYTICS_URL | the cache and the analytics database |",
        "| CLOUDLAB_MASTER_KEY | master key of version 1 in base64, or `1:key,2:key` |",
        *(f"| {variable(item.name)} | limit `{item.name}` |" for item in dataclasses.fields(Limits)),
        *(f"| {variable(item.name)} | [payments] `{item.name}` |" for item in dataclasses.fields(Payments)),
        *(f"| {variable(item.name)} | [housekeeping] `{item.name}` |" for item in dataclasses.fields(Housekeeping)),
        "\nA server that is not on this machine is verified (`sslmode=verify-full`) unless its URL says otherwise.",
    ]
    return MADE + "\n".join(lines) + "\n"


def commands_page() -> str:
    """List every command with its arguments, options and example."""
    lines = ["# Commands\n", "Exit codes: 0 done, 1 a check failed, 2 used wrongly, 3 unavailable.\n"]
    _describe(typer.main.get_command(app), "cloudlab", lines)
    return MADE + "\n".join(lines) + "\n"


def _describe(command: Any, path: str, lines: list[str]) -> None:  # noqa: ANN401  Typer's own click has no types
    if isinstance(command, TyperGroup):
        for name, part in command.commands.items():
            _describe(part, f"{path} {name}", lines)
        return
    arguments = " ".join(param.name.upper() for param in command.params if param.param_type_name == "argument")
    lines.append(f"\n## {path} {arguments}".rstrip() + "\n")
    lines.append(inspect.cleandoc(command.help or "") + "\n")
    if command.epilog:
        lines.append(f"{command.epilog.strip()}\n")
    for param in command.params:
        if param.param_type_name == "argument":
            lines.append(f"- `{param.name.upper()}`: {param.help or ''}")
        elif param.name != "help":
            lines.append(f"- `{', '.join([*param.opts, *param.secondary_opts])}`: {param.help or ''}")


def rules_page() -> str:
    """Describe every rule of the checker: what must hold, why, how a breach is mended, examples of both."""
    rules = sorted([*every(), *suppressing.RULES, checking.SYNTAX, checking.FOREIGN], key=lambda rule: rule.id)
    lines = [
        "# Rules\n",
        f"`cloudlab check` asks {len(rules)} rules; `cloudlab rules ID` shows one. An error fails the check, a warning "
        "with `--fail-on warning`, a note never. Examples of schema and queries stand together; `next file` parts "
        "migrations that run one after the other.\n",
        "| rule | level | what must hold |",
        "|---|---|---|",
        *(f"| [{rule.id}](#{rule.id.lower()}) | {rule.level} | {rule.title} |" for rule in rules),
    ]
    for rule in rules:
        lines.append(f'\n<a id="{rule.id.lower()}"></a>\n\n## {rule.id} {rule.title}\n')
        lines.append(f"{rule.level.capitalize()}. {rule.heading}.\n\n{rule.why}\n\nRemedy: {rule.remedy}")
        for head, examples in (("Reported", rule.bad), ("Left alone", rule.good)):
            if examples:
                language = "ini" if rule.pooler else "sql"
                lines.append(f"\n{head}:\n")
                lines.append("\n\n".join(f"```{language}\n{example}\n```" for example in examples))
    return MADE + "\n".join(lines) + "\n"


def dictionary_page(tree: Tree) -> str:
    """Describe the tables that one of our trees makes, by their comments."""
    return MADE + dictionary.markdown(folders.of_tree(tree), f"Data dictionary: {tree}")


def drawing(tree: Tree) -> str:
    """Draw the same."""
    return diagram.svg(diagram.drawn(folders.of_tree(tree)))


PAGES = {
    "docs/standards.md": standards_page,
    "docs/reference/errors.md": errors_page,
    "docs/reference/settings.md": settings_page,
    "docs/reference/commands.md": commands_page,
    "docs/reference/rules.md": rules_page,
    "docs/reference/schema/control.md": partial(dictionary_page, Tree.CONTROL),
    "docs/reference/schema/shard.md": partial(dictionary_page, Tree.SHARD),
    "docs/reference/schema/control.svg": partial(drawing, Tree.CONTROL),
    "docs/reference/schema/shard.svg": partial(drawing, Tree.SHARD),
}


def main() -> int:
    """Write all pages, or with --check name those that differ."""
    check = "--check" in sys.argv
    homes, wrong = citations()
    stale = [f"cites no heading of the standards: {citation}" for citation in wrong]
    missing = homeless(homes)
    stale += [f"no home: §{title}" for title in missing if title not in TO_COME]
    stale += [f"has a home and must leave TO_COME: §{title}" for title in TO_COME if title not in missing]
    for name, make in PAGES.items():
        path = ROOT / name
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(make())
        elif not path.exists() or path.read_text() != make():
            stale.append(f"{name} is not what the code says: run `make docs`")
    for line in stale:
        print(line)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
