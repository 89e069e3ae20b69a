"""`fanion optimise`: weights for a policy from what its allocations brought (docs/optimise.md)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from fanion.cli.common import (
    Number,
    configuration,
    data_option,
    keep_copy,
    open_store,
    print_table,
    standing,
    user_name,
)
from fanion.cli.text import echo
from fanion.cli.times import seconds_of
from fanion.clock.keeper import look_at
from fanion.errors import RowsError, StoreError

if TYPE_CHECKING:
    from fanion.model.weights import Applied, PolicyPlan
    from fanion.results.optimising import Proposal
    from fanion.store.store import Store

FLOOR: Final = 0.01
SHARE = Number(0, 1)
COLUMNS: Final = ("entity", "allocation", "units", "mean", "chance", "now", "proposed")


@click.command()
@data_option
@click.argument("policy")
@click.option("--environment", metavar="ID", help="Of this environment, where several have the policy.")
@click.option("--reward", metavar="EVENT", help="The event that is wanted.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["conversion", "count", "sum"]),
    default="conversion",
    show_default=True,
    help="Whether it came, how often, or the sum of its values.",
)
@click.option("--less", is_flag=True, help="Less of it is better.")
@click.option(
    "--exposure",
    type=click.Choice(["sent", "served", "decided"]),
    default="sent",
    show_default=True,
    help="The rows that say who got what: clients' exposures, the server's own, or clients' decisions.",
)
@click.option("--window", help="Events count so long after the exposure, as 2h or 7d. Default: without end.")
@click.option(
    "--floor", type=SHARE, help=f"No allocation's weight is less. [default: the last one's, {FLOOR}]"
)
@click.option(
    "--holdout", type=SHARE, help="A share of the units, split evenly. [default: the last one's, 0]"
)
@click.option(
    "--entity-units",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Units that an entity takes for weights of its own.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the draws. [default: 0]")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", help="[default: table]"
)
@click.option("--apply", "apply_", is_flag=True, help="Serve the proposed weights.")
@click.option("--clear", "clear_", is_flag=True, help="Serve the definitions' weights again.")
def command(
    data: Path,
    policy: str,
    environment: str | None,
    reward: str | None,
    kind: str,
    less: bool,
    exposure: str,
    window: str | None,
    floor: float | None,
    holdout: float | None,
    entity_units: int,
    seed: int,
    form: str,
    apply_: bool,
    clear_: bool,
) -> None:
    """Propose weights for POLICY, by its id, from exposures and the rewards after them.

    Nothing changes without --apply; with it every worker serves the new weights with its next request. Publishing
    and rolling back keep them, as long as the policy has the same allocations. Needs fanion[results].

    \b
    fanion optimise pol_button --reward purchase --window 1d --data ./data --apply
    """
    if clear_ == (reward is not None) or (clear_ and apply_):
        raise click.UsageError("name a --reward to propose weights by, or --clear those that were applied")
    with open_store(data, write=apply_ or clear_) as store:
        where, plan, applied = _find(store, policy, environment)
        if clear_:
            _clear(store, where, policy)
            return
        from fanion.results.optimising import Asked, propose

        before = applied.get(policy)
        asked = msgspec.convert(
            {
                "reward": reward,
                "type": kind,
                "exposure": exposure,
                "smallest": less,
                "window_us": None if window is None else round(seconds_of(window, "--window") * 1e6),
                "floor": _first(floor, None if before is None else before.floor, FLOOR),
                "holdout": _first(holdout, None if before is None else before.holdout, 0.0),
                "entity_units": entity_units,
                "seed": seed,
                "lead_us": round(configuration(data).results.lead_s * 1e6),
            },
            Asked,
        )
        proposal = propose(data, where, plan, asked)
        if form == "json":
            echo(msgspec.json.encode(proposal).decode())
        else:
            _show(proposal)
        if apply_:
            _apply(store, proposal, quiet=form == "json")


def _first(*given: float | None) -> float:
    return next(one for one in given if one is not None)


def _find(store: Store, policy: str, environment: str | None) -> tuple[str, PolicyPlan, Applied]:
    """The environment, the policy and what was applied there. Raises StoreError, RowsError."""
    from fanion.app.weighing import policy_plans
    from fanion.store.weights import read_weights

    known: set[str] = set()
    found: list[tuple[str, PolicyPlan, Applied]] = []
    with store.pin() as pinned:
        names = pinned.environments()
        if environment is not None and environment not in names:
            raise StoreError(
                f"there is no environment {environment}; there are: {', '.join(names) or 'none yet'}"
            )
        for name in names if environment is None else (environment,):
            plans = policy_plans(bytes(pinned.bundle(name) or b""))
            known |= plans.keys()
            if policy in plans:
                found.append((name, plans[policy], read_weights(pinned, name)))
    if not found:
        raise RowsError(f"there is no policy {policy!r}; there are {', '.join(sorted(known)) or 'none'}")
    if len(found) > 1:
        raise RowsError(
            f"{', '.join(one[0] for one in found)} have a policy {policy!r}; name an --environment"
        )
    return found[0]


def _show(proposal: Proposal) -> None:
    rows = (
        (
            share.entity or "everyone",
            share.allocation,
            f"{share.units:,}",
            f"{share.mean:.4g}",
            f"{share.chance:.1%}",
            f"{share.current:.4g}",
            f"{share.proposed:.4g}",
        )
        for share in proposal.shares
    )
    title = f"{proposal.policy} of {proposal.environment}: {proposal.draws} by {proposal.reward}"
    print_table(COLUMNS, rows, numbers=COLUMNS[2:], title=title)
    echo(f"  floor {proposal.floor:g}, holdout {proposal.holdout:g}; chance: of being the best")
    for note in proposal.notes:
        echo(f"  {note}")


def _apply(store: Store, proposal: Proposal, *, quiet: bool) -> None:
    from fanion.app import lay_overrides

    made = proposal.weights(look_at(store.directory).wall, user_name())

    def weigh(name: str, applied: Applied) -> Applied:
        return {**applied, proposal.policy: made} if name == proposal.environment else applied

    generation = lay_overrides(store, weigh=weigh).generation
    with standing(f"generation {generation}"):
        echo(f"generation {generation} serves the proposed weights of {proposal.policy}", err=quiet)
        keep_copy(store, generation or store.generation())


def _clear(store: Store, environment: str, policy: str) -> None:
    from fanion.app import lay_overrides

    def weigh(name: str, applied: Applied) -> Applied:
        if name != environment:
            return applied
        if policy not in applied:
            raise StoreError(f"no weights were applied to {policy} of environment {environment}")
        return {one: weights for one, weights in applied.items() if one != policy}

    generation = lay_overrides(store, weigh=weigh).generation
    with standing(f"generation {generation}"):
        echo(f"generation {generation} serves the definitions' weights of {policy}")
        keep_copy(store, generation or store.generation())
