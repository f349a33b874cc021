"""Bi-DFCL: what logs of a policy add to a small trial, and what each part of bi-level training adds to that."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from dfcl_jax import losses, metrics, scores
from dfcl_jax.data import Exam, Split, Task, simulate, with_budgets
from dfcl_jax.errors import refuse
from dfcl_jax.losses import decision
from dfcl_jax.methods import CHEAPEST, TWO_STAGE, BiLevel, CheapestArm, Decision, Method, Pooled, TwoStage, decisions
from dfcl_jax.report.summary import mean_values
from dfcl_jax.report.terminal import number
from dfcl_jax.runs import Run, RunConfig, command, open_run
from dfcl_jax.runs.options import COUNT, SHARE, Within
from dfcl_jax.solvers import default_budgets
from dfcl_jax.study import Study, compare
from dfcl_jax.train import FitConfig, Hypergradient
from dfcl_jax.types import Outcomes, Trial, num_arms, take

# Bi-DFCL's table: AUCC of the Criteo hybrid, and EOM of its Marketing I over TSM-SL's.
PUBLISHED = {
    TWO_STAGE: (0.7143, 1.0000), "PPL": (0.7419, 1.0167), "PIFD": (0.7437, 1.0170), "TSM-SL on logs": (0.7413, 1.0067),
    "TSM-SL on both": (0.7438, 1.0071), "KD-Label": (0.7374, 1.0033), "LTD-DR": (0.7533, 1.0168),
    "weights": (float("nan"), 1.0240), "pseudo-labels": (float("nan"), 1.0248), "Bi-PPL": (0.7797, 1.0277),
    "Bi-PIFD": (0.7812, 1.0297),
}  # fmt: skip
CONTEXT = (
    "All people are simulated, in far smaller numbers than the paper's. The published figures are those of other data,"
    " which are not public: they are context, not a target that these could be held against."
)


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Compare methods that see a small trial, logs of a targeting policy, or both, on people whose truth is known."""

    population: Literal["marketing", "hybrid"] = "marketing"
    """Five discounts with confounded logs; or a Criteo-like trial, part of which becomes logs (Bi-DFCL section 3)."""
    seeds: Annotated[int, COUNT] = 3
    parts: Annotated[tuple[int, int, int], COUNT] = (10_000, 10_000, 50_000)
    """People for training, validation and test, all randomised; of `marketing`."""
    observed: Annotated[int, COUNT] = 50_000
    """People in the logs; of `marketing`."""
    strength: Annotated[float, Within(0)] = 1.0
    """How strongly the logs' policy targets; 0 is a trial. Of `marketing`."""
    people: Annotated[int, Within(400)] = 200_000
    """In the trial that becomes the hybrid: 5% train, 10% validate, 30% test, 24% are logs."""
    rates: Annotated[tuple[float, float], SHARE] = (0.2, 0.05)
    """Of visits and conversions in the hybrid, so that its small trial has about as many as the published one."""
    logged: Annotated[float, Within(0.5, 1)] = 0.9
    """Probability that the hybrid's policy gives the treatment that it prefers; 1 as published."""
    bilevel: FitConfig = field(default_factory=lambda: FitConfig(epochs=8, batch_size=1024, learning_rate=1e-3))
    """Training of the target network, epochs over the logs."""
    hypergradient: Hypergradient = field(default_factory=Hypergradient)


def main(config: Config) -> None:
    """Simulate, train, compare, report."""
    known = rows_of_the_table(config.two_stage, config.decision, config.bilevel, config.hypergradient)
    methods = config.chosen_methods(known)
    sizes = {"parts": config.parts, "observed": config.observed, "strength": config.strength}
    if config.population == "hybrid":
        sizes = {"people": config.people, "rates": config.rates, "logged": config.logged}
    draw = {"marketing": confounded_split, "hybrid": hybrid_split}[config.population]
    with open_run("bidfcl", config, population=config.population, **sizes) as run:
        splits = [draw(config, jax.random.fold_in(jax.random.key(seed), 1), seed) for seed in config.seed_numbers]
        splits = with_budgets(splits, run.fixed("budgets", partial(usual_budgets, splits)))
        study = compare(jax.random.key(0), splits, methods, cells=run.cells())
        run.report(study)
        beside_published(run, study)


def rows_of_the_table(
    start: TwoStage, training: FitConfig, bilevel: FitConfig, how: Hypergradient
) -> dict[str, Method]:
    """The rows of the paper's table, its ladder of ablations, and our scores in the upper level, by name."""
    of = partial(Decision, start=start, training=training)
    ppl, pifd = of(scores.raw, decision.primal_policy_learning), of(scores.raw, decision.primal_finite_difference)
    own, squares = decisions(start, training)["PL-own-units"], of(scores.raw, decision.weighted_squares)
    two_level, explicit = partial(BiLevel, training=bilevel, hypergradient=how), replace(how, kind="explicit")
    return {
        TWO_STAGE: start,
        "PPL": ppl,
        "PIFD": pifd,
        "PL-own-units": own,
        "TSM-SL on logs": Pooled(start, "observed"),
        "TSM-SL on both": Pooled(start),
        "TSM-SL on both, weighted": Pooled(start, propensities="given"),
        "PL-own-units on both, weighted": Pooled(own, propensities="given"),
        "KD-Label": two_level(ppl, gate=1.0),
        "LTD-DR": two_level(squares, losses.doubly_robust_label_loss, hypergradient=explicit),
        "weights": two_level(ppl, losses.gated_factual_loss, hypergradient=explicit),
        "pseudo-labels": two_level(ppl, hypergradient=explicit),
        "Bi-PPL": two_level(ppl),
        "Bi-PIFD": two_level(pifd),
        "Bi-PL-own-units": two_level(own),
        CHEAPEST: CheapestArm(),
    }


def confounded_split(config: Config, key: Array, seed: int) -> Split:
    """Five discounts: a trial, and logs of a policy that gives the dearer discount to people who bring more."""
    draw_key, population_key = jax.random.split(key)
    population = simulate.marketing_population(population_key)
    drawn = simulate.confounded(population, draw_key, config.observed, sum(config.parts), strength=config.strength)
    trial, truth = drawn.rct
    ends = np.cumsum([0, *config.parts])
    train, valid, test = (take(trial, jnp.arange(*pair)) for pair in pairwise(ends))
    task = Task(train, valid, (), seed, observed=drawn.obs.trial)
    return Split(task, Exam(test, jax.tree.map(lambda leaf: leaf[ends[2] :], truth)))


def hybrid_split(config: Config, key: Array, seed: int) -> Split:
    """A Criteo-like trial of which a quarter becomes logs, as many for each seed, and half stays a trial."""
    draw_key, hybrid_key = jax.random.split(key)
    visits, conversions = config.rates
    trial, truth = simulate.criteo_like(draw_key, config.people, visit_rate=visits, conversion_rate=conversions)
    parts = simulate.hybrid(hybrid_key, trial, partial(linear_policy, certainty=config.logged))
    observed = round(0.24 * config.people)
    if parts.obs.rows < observed:
        refuse("people in the hybrid's logs", found=parts.obs.rows, expected=f"at least {observed}: more --people")
    task = Task(parts.train, parts.valid, (), seed, observed=parts.obs.sample(observed))
    return Split(task, Exam(parts.test, jax.tree.map(lambda leaf: leaf[parts.rows[3]], truth)))


def linear_policy(trial: Trial, *, certainty: float) -> Callable[[Array], Array]:
    """A policy learned from a trial of two treatments: the half of people of higher return is treated.

    Revenue and cost of each treatment are linear in the features, by least squares.
    """

    def design(x: Array) -> Array:
        return jnp.concatenate([jnp.ones((x.shape[0], 1), x.dtype), x], axis=1)

    given = jax.nn.one_hot(trial.t, num_arms(trial), dtype=trial.x.dtype)
    fits = [
        [jnp.linalg.lstsq(design(trial.x) * arm[:, None], y * arm)[0] for arm in given.T] for y in (trial.r, trial.c)
    ]

    def probabilities(x: Array) -> Array:
        outcomes = Outcomes(*(jnp.stack([design(x) @ weights for weights in arms], axis=1) for arms in fits))
        roi = metrics.roi_score(outcomes)
        treated = jnp.where(roi > jnp.median(roi), certainty, 1 - certainty)
        return jnp.stack([1 - treated, treated], axis=1)

    return probabilities


def usual_budgets(splits: list[Split]) -> list[float]:
    """Six budgets between the mean cost of the cheapest and of the dearest treatment."""
    costs = [np.asarray(scores.ipw(split.task.valid).c.mean(axis=0)) for split in splits]
    return list(default_budgets(np.mean(costs, axis=0)))


def beside_published(run: Run, study: Study) -> None:
    """Write and print the paper's figures beside ours."""
    ours = (mean_values(study).mean() / mean_values(study)[study.judge.base].mean()).to_dict()
    areas = study.quality.groupby("method").aucc.mean() if "aucc" in study.quality else pd.Series(dtype=float)
    minutes = pd.Series(dtype=float)
    if len(study.history):
        # Seeds of one program have its seconds each.
        minutes = study.history.groupby(["method", "seed"]).seconds.sum().groupby("method").mean() / 60
    table = pd.DataFrame(
        [
            {
                "method": method,
                "EOM": ours[method],
                "AUCC": areas.get(method, np.nan),
                "minutes": minutes.get(method, np.nan),
                "published EOM": PUBLISHED.get(method, (np.nan, np.nan))[1],
                "published AUCC": PUBLISHED.get(method, (np.nan, np.nan))[0],
            }
            for method in study.methods
        ]
    )
    run.write_table("published", table)
    run.show(
        table.apply(lambda column: column.map(number)),
        f"EOM over {study.judge.base}'s; minutes of a training program, all its seeds. {CONTEXT}",
    )


if __name__ == "__main__":
    command(main, Config)
