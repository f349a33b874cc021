"""Every contender is tuned by the same choices, and what it starts from is not trained otherwise."""

from dataclasses import replace

import pytest

from dfcl_jax import InputError, TwoStage
from dfcl_jax.methods import (
    Boosted,
    CausalForest,
    Distilled,
    DRLearner,
    Ensemble,
    RiskAverse,
    Segments,
    TwoHeaded,
    WeightedTwoStage,
    ZeroInflated,
    rivals,
    standard,
)
from dfcl_jax.methods.contenders import contenders
from dfcl_jax.methods.decision import TRAINING
from dfcl_jax.methods.tuning import Choice, choices_text, member_of, read_choices, trials, tuned, tuned_all, tuned_start
from dfcl_jax.models import NetworkConfig

START = TwoStage()
GROUPS = contenders(START, TRAINING)
EVERY = {name: method for of in GROUPS.values() for name, method in of.items()}
CHOICE = Choice(hidden=(8, 4), link="softplus", epochs=0.5, batch=2.0, rate=3.0, decay=100.0)


def stages(method):
    """The method and what is trained before it."""
    while isinstance(method, Ensemble | RiskAverse | TwoHeaded):
        method = method.of
    before = getattr(method, "start", getattr(method, "nuisance", None))
    return [method, *(stages(before) if before is not None else [])]


def test_a_name_means_one_method_wherever_it_is_listed():
    """Networks of effects have the link of the start's network in either list, as outcomes are money."""
    catalogue = standard(START, TRAINING) | rivals(START, TRAINING)
    for name in catalogue.keys() & EVERY.keys():
        assert catalogue[name] == EVERY[name]


def test_no_two_contenders_share_a_name_or_are_one_method():
    assert sum(len(of) for of in GROUPS.values()) == len(EVERY)
    assert len({repr(method) for method in EVERY.values()}) == len(EVERY)


def test_trials_begin_with_the_method_as_it_is_and_more_of_them_go_on_with_the_fewer():
    assert trials(1) == [Choice()]
    assert trials(30)[:8] == trials(8)
    assert len(set(trials(30))) == 30
    with pytest.raises(InputError, match="trials: found 0, expected 1 to 864"):
        trials(0)


TREES = {name for name, method in EVERY.items() if isinstance(method, Boosted | CausalForest)}


@pytest.mark.parametrize("name", sorted(EVERY.keys() - TREES))
def test_a_choice_reaches_every_network_and_the_last_training_alone(name):
    before, after = (stages(m) for m in (EVERY[name], tuned(EVERY[name], CHOICE)))
    for k, (old, new) in enumerate(zip(before, after, strict=True)):
        if hasattr(new, "network"):
            assert new.network.hidden == (8, 4)
        # A distilled network learns without noise, whatever its teacher was tuned to.
        last = k == 0 and not isinstance(new, Distilled)
        # Segments learn nothing beyond what they start from.
        if not isinstance(new, Segments):
            assert new.training == (CHOICE.trained(old.training) if last else old.training)
    assert after[-1].network.link == ("identity" if isinstance(after[-1], ZeroInflated) else "softplus")
    assert tuned(EVERY[name], Choice()) == EVERY[name]


def test_effects_and_probabilities_keep_their_link():
    learner = DRLearner(START, NetworkConfig(link="identity"))
    assert tuned(learner, CHOICE).network.link == "identity"
    assert CHOICE.built(NetworkConfig(link="sigmoid")).link == "sigmoid"


def test_an_ensemble_is_of_what_its_members_were_tuned_to():
    best = {"TSM-SL": CHOICE, "TSM-own-units": Choice(rate=0.3)}
    start = tuned_start(START, best)
    assert start.network == START.network
    methods = {"TSM-SL": START, **contenders(start, TRAINING)["ensembles"]}
    done = tuned_all(methods, best)
    assert done["TSM-SL"] == tuned(START, CHOICE)
    assert done["TSM-SL x5"] == Ensemble(tuned(START, CHOICE), 5)
    assert done["TSM-own-units x5"] == Ensemble(tuned(WeightedTwoStage(start, TRAINING), Choice(rate=0.3)), 5)
    assert done["TSM-own-units resplit x5"] == replace(done["TSM-own-units x5"], resplit=True)  # pyright: ignore
    assert done["PL-centred x5"] == methods["PL-centred x5"]


@pytest.mark.parametrize("name", ["PL-both", "PL-both x5", "PL-both resplit x5", "PL-both distilled"])
def test_what_is_made_of_another_is_tuned_with_it(name):
    assert member_of(name) == "PL-both"
    assert tuned_all(EVERY, {"PL-both": CHOICE})[name] == tuned(EVERY[name], CHOICE) != EVERY[name]


def test_choices_are_read_as_they_were_written_and_others_are_refused(tmp_path):
    best = {"a": CHOICE, "b": Choice()}
    (tmp_path / "tuned.json").write_text(choices_text(best))
    assert read_choices(tmp_path / "tuned.json") == best
    (tmp_path / "other.json").write_text('{"a": {"width": 3}}')
    for name in ("other.json", "none.json"):
        with pytest.raises(InputError, match=f"choices .*{name}: found none to read"):
            read_choices(tmp_path / name)


def test_trees_are_tuned_by_the_same_choices():
    assert tuned(Boosted(), Choice()) == Boosted()
    grown = tuned(Boosted(monotone=True), Choice(hidden=(256, 128), link="softplus", epochs=2.0, batch=0.5, rate=3.0))
    assert grown == Boosted(monotone=True, trees=600, learning_rate=0.15000000000000002, leaves=124, leaf_size=10)
    assert tuned(CausalForest(), Choice(epochs=0.5, batch=2.0)) == CausalForest(trees=48, leaf_size=600)
