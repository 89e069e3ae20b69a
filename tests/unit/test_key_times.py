"""Times at the ends of the calendar: refused where a key gets one, shown where a store has one already."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from fanion.cli.keys import command
from fanion.cli.times import end_of
from fanion.clock.belief import Jump, begin
from fanion.clock.keeper import read_clocks
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.store.publication import Publication
from fanion.store.store import Store

BEYOND = ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59.999999-00:01"]
WITHIN = ["9999-12-31T23:59:59Z", "9999-12-31T18:59:59-05:00", "0001-01-01T00:00:00Z", "9999-12-31"]


@pytest.mark.parametrize("expires", [*BEYOND, *WITHIN])
def test_time_that_utc_cannot_write_is_refused_in_definitions(tmp_path: Path, expires: str) -> None:
    key = f"{{key: 'sha256:{'1' * 64}', expires: '{expires}'}}"
    environments = f"{{e: {{id: e, keys: [{key}]}}}}"
    world = f"{{fanion: 1, organisations: {{o: {{projects: {{p: {{environments: {environments}}}}}}}}}}}"
    (tmp_path / "w.yaml").write_text(world)
    if expires in WITHIN:
        assert load([tmp_path], vocabulary()).keys[0].record.expires_at is not None
        return
    with pytest.raises(DefinitionError, match="before 10000 in UTC"):
        load([tmp_path], vocabulary())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "data", create=True) as store:
        ends = {"far": 253_402_318_799.0, "early": -1e15, "last": 253_402_300_799.5, "never": None}
        keys = {
            hash_key(name.encode()): KeyRecord(
                id=name, environment="e", organisation="o", kind="server", expires_at=end, prefix=name
            )
            for name, end in ends.items()
        }
        store.publish(Publication(bundles={"e": b"x"}, keys=keys))
    return tmp_path / "data"


def test_keys_with_any_expiry_are_listed(data: Path) -> None:
    done = CliRunner().invoke(command, ["list", "--data", str(data)])
    assert done.exit_code == 0
    for said in ("until a time after year 9999", "until 9999-12-31T23:59:59Z", "never expires", "expired"):
        assert said in done.stdout


@pytest.mark.parametrize("behind_s", [3_600.0, 365 * 86_400.0])
def test_what_would_be_over_at_once_by_a_wall_clock_that_is_behind_is_refused(behind_s: float) -> None:
    """A key or an override was made, and ended before anybody saw it."""
    now = read_clocks()
    clock = msgspec.structs.replace(begin(now, 0.0), jump=Jump(-behind_s))
    with pytest.raises(click.BadParameter, match="would be over at once"):
        end_of("1h", clock, "--for")
    with pytest.raises(click.BadParameter, match=r"would be over at once$"):
        end_of("0s", begin(now, 0.0), "--for")
    longer = f"{int(behind_s) // 3_600 + 1}h"
    assert end_of(longer, clock, "--for") == pytest.approx(clock.believed + 3_600)
    ahead = msgspec.structs.replace(begin(now, 0.0), jump=Jump(behind_s))
    assert end_of("1h", ahead, "--for") == pytest.approx(ahead.believed + 3_600)
