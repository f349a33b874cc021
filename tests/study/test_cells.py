"""A study is a list of cells, of which only the missing ones are trained."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Decision, Outcomes, TwoStage, scores
from dfcl_jax.data import simulate, split_simulation
from dfcl_jax.losses.decision import entropy_regularised
from dfcl_jax.methods.gradient import build, count_all, with_units
from dfcl_jax.methods.method import SILENT, fit_each, one_program_each
from dfcl_jax.models import NetworkConfig
from dfcl_jax.study import Cells, Judge, Watcher, compare, grid, sweep
from dfcl_jax.study.sweep import variant
from dfcl_jax.train import FitConfig

KEY = jax.random.key(0)
DRAW = jax.jit(partial(simulate.marketing, d=3), static_argnums=1)
SPLITS = [
    split_simulation(DRAW(jax.random.key(seed), 300), 100, 100, budgets=(0.05, 0.1), seed=seed) for seed in range(3)
]
TWO = SPLITS[:2]
JUDGE = Judge(base="base")
NETWORK = TwoStage(NetworkConfig(hidden=(4,)), training=FitConfig(epochs=1, batch_size=50))
FITTED: list[tuple[float, int]] = []  # slope and seed of what was trained


def mild(x):
    return x + 1.0


def harsh(x):
    return x + 2.0


@dataclass(frozen=True)
class Guess:
    """A method that learns nothing, so that all there is to a test is which cells are trained."""

    slope: float = 1.0
    loss: Callable = mild
    start: "Guess | None" = None
    money = True

    def fit(self, key, task, log):
        FITTED.append((self.slope, task.seed))
        begun = log.fitted(self.start, key, [task])[0]["slope"] if self.start else 0.0
        return {"slope": jnp.asarray(begun + self.slope + jax.random.normal(jax.random.fold_in(key, task.seed)))}

    def predict(self, params, x):
        arms = jnp.broadcast_to(jnp.arange(5.0), (len(x), 5))
        return Outcomes(params["slope"] * x[:, :1] * arms, arms)


THREE = {"base": Guess(1.0), "two": Guess(2.0), "three": Guess(3.0)}


@pytest.fixture
def study(tmp_path):
    """Runs a study on the cells of one folder, as another process would; tells what it trained, and what it said."""
    FITTED.clear()

    def run(methods, splits=TWO):
        said: list[str] = []
        before = len(FITTED)
        done = compare(KEY, splits, methods, judge=JUDGE, cells=Cells(tmp_path, watcher=Watcher(say=said.append)))
        return done, FITTED[before:], said

    return run


def test_a_study_that_is_there_trains_nothing_and_is_the_same(study):
    first, trained, _ = study(THREE)
    assert trained == [(slope, seed) for slope in (1.0, 2.0, 3.0) for seed in (0, 1)]
    again, trained, said = study(THREE)
    assert (trained, said) == ([], [])
    np.testing.assert_array_equal(
        again.values[["seed", "budget", "revenue"]], first.values[["seed", "budget", "revenue"]]
    )


def test_a_method_that_is_added_trains_alone(study):
    study({"base": THREE["base"], "two": THREE["two"]})
    assert study(THREE)[1] == [(3.0, 0), (3.0, 1)]


def test_a_seed_that_is_added_trains_alone(study):
    study(THREE)
    assert study(THREE, SPLITS)[1] == [(1.0, 2), (2.0, 2), (3.0, 2)]


def test_a_study_that_was_killed_goes_on_with_what_is_missing(study, monkeypatch):
    fit = Guess.fit

    def killed(self, key, task, log):
        if (self.slope, task.seed) == (2.0, 1):
            raise KeyboardInterrupt
        return fit(self, key, task, log)

    monkeypatch.setattr(Guess, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        study(THREE)
    monkeypatch.setattr(Guess, "fit", fit)
    assert study(THREE)[1] == [(2.0, 1), (3.0, 0), (3.0, 1)]


@pytest.mark.thorough
@pytest.mark.parametrize("file", ["params.npz", "record.csv", "values.csv", "cell.json"])
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_damaged_cell_is_named_and_trained_again(study, tmp_path, file, harm):
    first, _, _ = study(THREE)
    damaged = next(tmp_path.glob(f"two/1-*/{file}"))
    if harm == "cut":
        damaged.write_bytes(damaged.read_bytes()[:-3])
    else:
        damaged.unlink()
    again, trained, said = study(THREE)
    assert trained == [(2.0, 1)]
    # Of a folder without its list of files nothing is known, not even that it was a cell.
    if (file, harm) != ("cell.json", "gone"):
        assert said == [f"cell {damaged.parent}: found a damaged {file}, so it is trained again"]
    np.testing.assert_array_equal(again.values.revenue, first.values.revenue)
    assert study(THREE)[1:] == ([], [])


@pytest.mark.parametrize("written", [[], ["params.npz"], ["params.npz", "record.csv"]])
def test_a_process_killed_while_it_writes_leaves_no_cell(study, tmp_path, written):
    study(THREE)
    whole = next(tmp_path.glob("three/0-*"))
    half = whole.with_name(f".{whole.name}")
    half.mkdir()
    for file in written:
        (whole / file).rename(half / file)
    for file in whole.iterdir():
        file.unlink()
    whole.rmdir()
    _, trained, said = study(THREE)
    assert (trained, said) == ([(3.0, 0)], [])
    assert not half.exists()


def test_a_changed_option_or_loss_or_start_is_another_cell(study):
    study({"base": Guess()})
    assert study({"base": Guess(), "of": Guess(slope=1.5)})[1] == [(1.5, 0), (1.5, 1)]
    assert study({"base": Guess(), "of": Guess(loss=harsh)})[1] == [(1.0, 0), (1.0, 1)]
    study({"base": Guess(), "of": Guess(slope=4.0, start=Guess())})
    assert study({"base": Guess(), "of": Guess(slope=4.0, start=Guess(loss=harsh))})[1] == [(4.0, 0), (4.0, 1)]


def test_another_key_or_other_data_are_other_cells(study, tmp_path):
    study({"base": Guess()})
    before = len(FITTED)
    compare(jax.random.key(1), TWO, {"base": Guess()}, judge=JUDGE, cells=Cells(tmp_path))
    compare(KEY, TWO, {"base": Guess()}, judge=JUDGE, cells=Cells(tmp_path, data="others"))
    assert FITTED[before:] == 2 * [(1.0, 0), (1.0, 1)]


def test_a_name_is_no_part_of_a_cell(study):
    study(THREE)
    renamed, trained, _ = study({"base": THREE["base"], "deux": THREE["two"]})
    assert trained == []
    assert set(renamed.values.method) == {"base", "deux", "oracle"}


def test_the_method_that_another_starts_from_is_taken_from_its_cell(study):
    first, trained, _ = study({"base": Guess(1.0), "on": Guess(2.0, start=Guess(1.0))})
    assert trained == [(1.0, 0), (1.0, 1), (2.0, 0), (2.0, 1)]
    start, on = (float(first.cells[name][0].params["slope"]) for name in ("base", "on"))
    noise = float(jax.random.normal(jax.random.fold_in(KEY, 0)))
    assert on == pytest.approx(start + 2.0 + noise, rel=1e-12)
    # And where it has none, it gets one.
    assert study({"base": Guess(1.0), "on": Guess(5.0, start=Guess(6.0))})[1] == [
        (5.0, 0),
        (6.0, 0),
        (5.0, 1),
        (6.0, 1),
    ]
    assert study({"base": Guess(6.0)})[1] == []


START = TwoStage(NetworkConfig(hidden=(4,)))
METHOD = Decision(scores.centred, entropy_regularised, START)


@pytest.fixture
def programs(monkeypatch):
    """What is trained in one program, alphas by seeds, with untrained networks for what comes of it."""
    seen: list[tuple[list[float], list[int]]] = []

    def untrained(self, key, tasks, log, seeds):
        counted = count_all(tasks, "identity", seeds)
        model = build(self.network, 5)
        net = seeds.each(lambda x: model.init(key, x[:1]))(counted.sample.x)
        return with_units(net, counted)

    def together(method, variants, key, tasks, log, *, memory):
        seen.append(([of.alpha for of in variants], [task.seed for task in tasks]))
        return [log.fitted(method.start, key, tasks) for _ in variants]

    monkeypatch.setattr(TwoStage, "_fit", untrained)
    monkeypatch.setattr(import_module("dfcl_jax.study.sweep"), "fit_together", together)
    return seen


@pytest.mark.thorough
def test_a_sweep_trains_only_the_settings_that_are_missing_and_these_together(programs, tmp_path):
    sweep(KEY, TWO, METHOD, grid(alpha=[0.0, 1.0]), cells=Cells(tmp_path))
    assert programs == [([0.0, 1.0], [0, 1])]
    programs.clear()
    sweep(KEY, TWO, METHOD, grid(alpha=[0.0, 2.0, 1.0, 3.0]), cells=Cells(tmp_path))
    assert programs == [([2.0, 3.0], [0, 1])]
    programs.clear()
    # One setting lacks a seed, another lacks all: each of the two is a program of its own.
    sweep(KEY, SPLITS, METHOD, grid(alpha=[0.0, 5.0]), cells=Cells(tmp_path))
    assert programs == [([0.0], [2]), ([5.0], [0, 1, 2])]


def test_a_comparison_finds_the_cells_of_a_sweep(programs, tmp_path):
    swept = sweep(KEY, TWO, METHOD, grid(alpha=[0.0, 2.0]), cells=Cells(tmp_path))
    watcher = Watcher(on_stage=lambda label, epochs: pytest.fail(f"{label} is trained"))
    methods = {"TSM-SL": START, "alpha 0": METHOD, "alpha 2": variant(METHOD, {"alpha": 2.0})}
    compared = compare(KEY, TWO, methods, cells=Cells(tmp_path, watcher=watcher))
    for name in methods:
        one, other = (study.values[study.values.method == name].revenue for study in (compared, swept.study))
        np.testing.assert_array_equal(one, other)


@pytest.mark.thorough
def test_tasks_of_other_lengths_are_learned_in_programs_of_their_own_and_come_in_their_order():
    split, fewer = (split_simulation(simulate.marketing(jax.random.key(0), 400), n, 100) for n in (200, 150))
    tasks = [of.task._replace(seed=seed, budgets=(0.05,)) for seed, of in enumerate((split, fewer, split, fewer))]
    assert [[task.seed for task in group] for group in one_program_each(NETWORK, tasks)] == [[0, 2], [1, 3]]
    together = Cells().train("tiny", NETWORK, KEY, tasks)
    assert [cell.seed for cell in together] == [0, 1, 2, 3]
    each = fit_each(NETWORK, KEY, tasks, SILENT)
    for cell, params in zip(together, each, strict=True):
        np.testing.assert_array_equal(cell.params["costs"], params["costs"])
