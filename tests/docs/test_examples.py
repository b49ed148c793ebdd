"""The examples and the README run as they stand."""

import base64
import importlib
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

import cloudlab
from cloudlab.config import Config
from cloudlab.crypto import new_key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def at_home(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which the configuration of this test is found, as `cloudlab up` leaves it."""
    raw = {
        "control": asdict(config.control),
        "shards": [{"name": one.name, "region": one.region, **asdict(one.urls)} for one in config.shards],
        "cache": {"url": config.cache_url},
        "analytics": {"url": config.analytics_url},
        "encryption": {"keys": {"1": base64.b64encode(new_key()).decode()}},
    }
    (tmp_path / ".cloudlab").mkdir()
    (tmp_path / ".cloudlab" / "runtime.json").write_text(json.dumps({"config": raw}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("order_flow", ["delivered"]),
        ("custom_projection", ["SwitchedOn", "SwitchedOff"]),
        ("custom_saga", ["completed", "compensated"]),
        ("checkout", ["1 of LAMP wanted, 0 in stock", "completed", "compensated", "completed", "shipped"]),
        ("typed_events", ["ada@acme.test", "None"]),
        ("move_tenant", ["eu_west_001", "us_east_001", "all there"]),
    ],
)
async def test_an_example_runs(name: str, expected: list[str]):
    assert await importlib.import_module(f"examples.{name}").main() == expected


def test_every_example_is_run():
    names = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert names == {"order_flow", "custom_projection", "custom_saga", "checkout", "typed_events", "move_tenant"}


@pytest.mark.usefixtures("at_home")
async def test_the_python_of_the_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    scope: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), scope)  # noqa: S102  our own README
    await scope["main"]()  # type: ignore[operator]


def test_the_public_names():
    assert cloudlab.__all__ == sorted(cloudlab.__all__)
    assert len(cloudlab.__all__) <= 16
    for name in cloudlab.__all__:
        assert getattr(cloudlab, name).__doc__, name
