"""From tuning to the study that uses it."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from dfcl_jax import TwoStage
from dfcl_jax.methods.tuning import Choice, read_choices, trials
from dfcl_jax.models import NetworkConfig
from dfcl_jax.train import FitConfig

pytestmark = pytest.mark.slow

SMALL = FitConfig(epochs=2, batch_size=100, learning_rate=1e-2)
SHARED = {"parts": (600, 200, 400), "seeds": 2, "decision": SMALL, "two_stage": TwoStage(training=SMALL)}
NAMES = ("TSM-own-units", "TSM-own-units x5")


@pytest.fixture(scope="module")
def tuned(experiment, tmp_path_factory):
    """The folder of a run that tunes."""
    tune, out = experiment("tune"), tmp_path_factory.mktemp("tune") / "run"
    tune.main(tune.Config(out=out, trials=2, methods=NAMES, **SHARED))
    return out


def test_every_contender_has_every_trial_and_the_best_by_validation_is_kept(tuned):
    table, best = pd.read_csv(tuned / "trials.csv"), read_choices(tuned / "tuned.json")
    # An ensemble takes what its members are tuned to.
    assert list(best) == ["TSM-SL", "TSM-own-units"]
    for name, of in table.groupby("contender"):
        assert of.trial.tolist() == [0, 1]
        assert best[str(name)] == trials(2)[of.trial.tolist()[int(of.validation.argmax())]]
    # Two-stage learning as it is has no lift over itself.
    assert (
        table.loc[table.contender.eq("TSM-SL") & table.trial.eq(0), ["validation", "truth"]].abs().max(axis=None) == 0
    )


def test_what_is_tuned_is_not_tuned_again(experiment, tuned, tmp_path):
    tune = experiment("tune")
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"TSM-SL": vars(Choice(rate=0.3))}))
    tune.main(tune.Config(out=tmp_path / "run", trials=2, methods=NAMES[:1], tuned=(given,), **SHARED))
    assert read_choices(tmp_path / "run" / "tuned.json")["TSM-SL"] == Choice(rate=0.3)
    assert pd.read_csv(tmp_path / "run" / "trials.csv").contender.unique().tolist() == ["TSM-own-units"]


def test_a_contender_whose_every_trial_diverges_is_named_and_stays_as_it_is(experiment, tuned, tmp_path, capsys):
    tune = experiment("tune")
    options = SHARED | {"decision": replace(SMALL, learning_rate=1e30)}
    tune.main(tune.Config(out=tmp_path / "run", trials=1, methods=NAMES[:1], **options))
    assert list(read_choices(tmp_path / "run" / "tuned.json")) == ["TSM-SL"]
    assert "TSM-own-units is not tuned" in " ".join(capsys.readouterr().out.split())


def test_the_study_trains_every_contender_as_it_was_tuned(experiment, tmp_path):
    quality = experiment("quality")
    given = tmp_path / "given.json"
    choice = Choice(hidden=(4,), rate=0.5)
    given.write_text(json.dumps({"TSM-SL": vars(choice)}))
    config = quality.Config(out=tmp_path / "run", methods=NAMES, tuned=(given,), **SHARED)
    start = quality.REGIMES["default"].two_stage(config.two_stage)
    methods = quality.known(config, start)
    assert methods["TSM-SL"].network.hidden == (4,)
    assert methods["TSM-own-units"].start.training.learning_rate == 0.5 * SMALL.learning_rate
    assert methods["TSM-own-units"].network == NetworkConfig(hidden=(64, 32, 32))
    quality.main(config)
    values = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert set(values.method) == {"TSM-SL", *NAMES, "cheapest arm", "oracle"}
    assert values.groupby("method").size().nunique() == 1
