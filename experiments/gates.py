"""What gates of bi-level training could gain: gates that are told the truth, beside those that learn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Annotated

import jax
import jax.numpy as jnp
import pandas as pd
from jax import Array

from dfcl_jax import metrics, scores
from dfcl_jax.data import Split, simulate, with_budgets
from dfcl_jax.data.simulate import Population
from dfcl_jax.losses import constants, decision
from dfcl_jax.methods import TWO_STAGE, BiLevel, Decision, Pooled, decisions
from dfcl_jax.models import NetworkConfig
from dfcl_jax.report.terminal import number
from dfcl_jax.runs import RunConfig, command, open_run
from dfcl_jax.runs.logged import confounded_split, seed_keys, usual_budgets
from dfcl_jax.runs.options import COUNT, Within
from dfcl_jax.study import Cells, compare
from dfcl_jax.train import FitConfig, Rows, Stage, Validation, fit
from dfcl_jax.types import Outcomes, Scores, Trial, pick, take


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Value the best gates between a model of the trial and a model of the logs, by degrees of what they are told."""

    seeds: Annotated[int, COUNT] = 3
    parts: Annotated[tuple[int, int, int], COUNT] = (10_000, 10_000, 50_000)
    """People for training, validation and test, all randomised."""
    observed: Annotated[int, COUNT] = 50_000
    """People in the logs."""
    strength: Annotated[float, Within(0)] = 1.0
    """How strongly the logs' policy targets; 0 is a trial."""
    gates: Annotated[tuple[float, ...], Within(0, 1)] = (0.0, 0.3, 1.0)
    """Gates that are the same for everybody."""
    bilevel: FitConfig = field(default_factory=lambda: FitConfig(epochs=8, batch_size=1024, learning_rate=1e-3))
    """Training of the target network, epochs over the logs."""


def main(config: Config) -> None:
    """Train, mix by gates that know, value by the truth."""
    sizes = {"parts": config.parts, "observed": config.observed, "strength": config.strength, "gates": config.gates}
    with open_run("gates", config, **sizes) as run:
        splits = [
            confounded_split(
                population(seed),
                seed_keys(seed)[0],
                config.parts,
                config.observed,
                strength=config.strength,
                seed=seed,
            )
            for seed in config.seed_numbers
        ]
        splits = with_budgets(splits, run.fixed("budgets", partial(usual_budgets, splits)))
        cells = run.cells()
        rows = [row for split in splits for row in values_of(config, split, cells)]
        table = pd.DataFrame(rows)
        run.write_table("values", table)
        wide = table.pivot(index="seed", columns="gates", values="value")[list(dict.fromkeys(table.gates))]
        base, oracle = wide[TWO_STAGE], wide["oracle"]
        gap = 100 * wide.sub(base, axis=0).div(oracle - base, axis=0)
        shown = pd.DataFrame([{"gates": name, "% of gap": gap[name].mean(), "±": _reach(gap[name])} for name in wide])
        run.write_table("gates", shown)
        run.show(
            shown.apply(lambda column: column.map(number)),
            "True value, on the way from the trial's model to the oracle",
        )


def _reach(gaps: pd.Series) -> float:
    interval = metrics.paired_interval(gaps.to_numpy())
    return (interval.high - interval.low) / 2


@cache
def population(seed: int) -> Population:
    """The population of a seed."""
    return simulate.marketing_population(seed_keys(seed)[1])


def values_of(config: Config, split: Split, cells: Cells) -> list[dict[str, object]]:
    """Mean true revenue over budgets of every kind of gates, for one seed."""
    upper = decisions(config.two_stage, config.decision)["PL-own-units"]
    bilevel = partial(BiLevel, training=config.bilevel)
    told = Decision(
        partial(true_scores, split.task.seed), decision.entropy_regularised, config.two_stage, config.decision
    )
    methods = {
        TWO_STAGE: config.two_stage,
        "logs alone, by shares": Pooled(config.two_stage, "observed"),
        **{f"gates of {gate:g}": bilevel(upper, gate=gate) for gate in config.gates},
        "learned on the trial": bilevel(upper),
        "learned, told the truth": bilevel(told),
        "learned, told the truth, bridge 30 times as fast": bilevel(told, bridge_pace=30.0),
    }
    study = compare(jax.random.key(0), [split], methods, cells=cells)
    values = study.values.groupby("method", sort=False).revenue.mean().to_dict()
    test, truth, logs = split.exam.test, split.exam.truth, split.task.observed
    assert truth is not None
    assert isinstance(logs, Trial)
    budgets = jnp.asarray(split.task.budgets)

    def predicted(name: str, x: Array) -> Outcomes:
        return methods[name].predict(study.cells[name][0].params, x)

    def value(outcomes: Outcomes) -> float:
        return float(metrics.eom(outcomes, scores.truth(truth), budgets).revenue.mean())

    ends = [predicted(name, test.x) for name in ("logs alone, by shares", TWO_STAGE)]
    values["each prediction the nearest to its truth"] = value(nearest(ends[0], ends[1], truth))
    many = [predicted(name, logs.x) for name in ("logs alone, by shares", TWO_STAGE)]
    gates = fitted_gates(logs, many, population(split.task.seed).outcomes(logs.x), budgets)
    values["a network of gates, fitted to the truth of the logs' people"] = value(
        mixed(gates(test.x), ends[0], ends[1])
    )
    return [{"seed": split.task.seed, "gates": name, "value": each} for name, each in values.items()]


def true_scores(seed: int, trial: Trial, outcomes_hat: Outcomes) -> Scores:
    """What every treatment is truly expected to bring and cost people of a trial, in the unit of its outcomes."""
    truth = population(seed).outcomes(trial.x)
    r, c = (
        surface * (seen.sum() / pick(surface, trial.t).sum())
        for surface, seen in zip(truth, (trial.r, trial.c), strict=True)
    )
    return scores.truth(Outcomes(r, c))


def mixed(gates: Outcomes, logs: Outcomes, trial: Outcomes) -> Outcomes:
    """Return w y_trial + (1 - w) y_logs."""
    return jax.tree.map(lambda w, low, high: w * high + (1 - w) * low, gates, logs, trial)


def nearest(logs: Outcomes, trial: Outcomes, truth: Outcomes) -> Outcomes:
    """Mixed by the gate of every person and treatment that comes nearest to the truth."""

    def gate(low: Array, high: Array, y: Array) -> Array:
        return jnp.clip((y - low) / jnp.where(high == low, 1, high - low), 0, 1)

    return mixed(jax.tree.map(gate, logs, trial, truth), logs, trial)


def fitted_gates(logs: Trial, ends: list[Outcomes], truth: Outcomes, budgets: Array) -> Callable[[Array], Outcomes]:
    """A network of gates whose mixed predictions decide well by the truth, PL in everybody's own unit."""
    bridge = NetworkConfig(link="sigmoid").build(truth.r.shape[1])
    k = constants.fitted(truth, budgets)
    own = scores.in_own_units(scores.truth(truth), scores.outcome_scale(truth))
    # The last tenth chooses the epoch.
    cut = logs.rows // 10 * 9
    train, valid = (
        jax.tree.map(lambda leaf, part=part: leaf[part], (*ends, own)) for part in (slice(cut), slice(cut, None))
    )

    def loss(gates: Outcomes, known: tuple[Outcomes, Outcomes, Scores]) -> Array:
        return decision.entropy_regularised(mixed(gates, known[0], known[1]), known[2], k)

    stage = Stage(
        bridge,
        lambda gates, rows, shared: loss(gates, rows.extra),
        lambda gates, known: -loss(gates, known),
        FitConfig(epochs=40, batch_size=1024, learning_rate=3e-3),
    )
    people = take(logs, jnp.arange(cut))
    start = bridge.init(jax.random.key(0), logs.x[:1])
    fitted = fit(jax.random.key(1), start, Rows(people, train), None, Validation(logs.x[cut:], valid), stage)
    return partial(bridge.apply, fitted.params)


if __name__ == "__main__":
    command(main, Config)
