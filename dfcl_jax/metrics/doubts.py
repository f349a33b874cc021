"""What makes the figures of a trial doubtful: one diagnosis, in plain sentences, for every command."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from dfcl_jax.data.treatments import perhaps_meant
from dfcl_jax.errors import shown
from dfcl_jax.metrics.checks import check_trial
from dfcl_jax.metrics.diagnostics import arm_shares, feature_names, imbalance, overlap
from dfcl_jax.metrics.intervals import clearly_positive
from dfcl_jax.types import Trial

# Below this p value a test doubts how treatments were given: of 100 sound trials it doubts one.
DOUBT = 0.01
# People of a treatment, conversions of a treatment, people that weights are worth: with fewer, figures are rough.
FEW = 30
_OUTCOMES = ("Revenue", "Cost")


def doubts(
    trial: Trial,
    arms: Sequence[object],
    *,
    names: Sequence[str] | None = None,
    given_propensities: bool,
    outcomes: tuple[str, str] | None = None,
    leaks: Sequence[str] = (),
) -> list[str]:
    """Return what makes figures from a trial doubtful, a sentence each; none if nothing does.

    Treatments that are few or misspelt; shares that are not those of the design; features that differ between
    treatments; weights that a few people carry; few conversions; revenue whose percentages mean nothing; costs that no
    budget can be about; features that leak.

    Args:
        trial: n people.
        arms: the names of its m treatments.
        names: of its d features.
        given_propensities: whether the design names them; estimated from the shares, they cannot disagree with them.
        outcomes: names of the columns of revenue and cost.
        leaks: names of features that are suspected to be made of what happened after treatment.

    Raises:
        InputError: as `diagnostics.balance`.
    """
    trial = check_trial(trial)
    revenue, cost = _OUTCOMES if outcomes is None else map("{} (column {!r})".format, _OUTCOMES, outcomes)
    parts = (
        _treatments(trial, arms),
        _design(trial, arms, names, given_propensities),
        _weights(trial, arms),
        _revenue(trial, arms, revenue),
        _cost(trial, arms, cost),
    )
    found = list(chain.from_iterable(parts))
    return found + [
        f"The feature {shown(leak)} may be made of what happened after treatment: leave it out." for leak in leaks
    ]


def _treatments(trial: Trial, arms: Sequence[object]) -> Iterator[str]:
    counts, n = _counts(trial), len(trial.t)
    meant = perhaps_meant(list(map(str, arms)), counts)
    for j, other in enumerate(meant):
        if other:
            given = f"The treatment {shown(arms[j])} was given to {counts[j]:,} of {n:,} people"
            yield f"{given}: is it {other!r} misspelt?"
    few = [f"{shown(arm)} ({counts[j]:,})" for j, arm in enumerate(arms) if not meant[j] and counts[j] < FEW]
    if few:
        yield (
            f"Of {n:,} people few were given {', '.join(few)}: too few for figures. Where a name is a mistake, correct "
            "it; else think of leaving these rows out."
        )


def _design(
    trial: Trial, arms: Sequence[object], names: Sequence[str] | None, given_propensities: bool
) -> Iterator[str]:
    shares, test = arm_shares(trial, given_propensities=given_propensities)
    if test.p_value < DOUBT:
        off = shares.iloc[int((shares.share / shares.design - 1).abs().argmax())]
        yield (
            f"Sample ratio mismatch: {shown(arms[int(off.treatment)])} was given to {off.share:.4g} of people, by the "
            f"propensities it is {off.design:.4g} ({test}): people were lost, or the propensities are not the trial's."
        )
    names = feature_names(names, trial.x.shape[1])
    found = imbalance(trial)
    if found.p_value < DOUBT:
        yield (
            f"People differ between treatments before treatment, most in the feature {shown(names[found.column])} at "
            f"{shown(arms[found.treatment])} (p = {found.p_value:.2g}): the trial does not look randomised as it says."
        )


def _weights(trial: Trial, arms: Sequence[object]) -> Iterator[str]:
    counts = _counts(trial)
    for j, row in overlap(trial).iterrows():
        j = int(str(j))
        # With fewer people than that the treatment has a sentence already.
        if counts[j] >= FEW > row.effective_size:
            yield (
                f"Weights of {shown(arms[j])} are uneven: its {counts[j]:,} people are worth "
                f"{row.effective_size:.0f} of equal weight, and one stands for {row.largest_weight:,.0f} people "
                f"(propensity {1 / row.largest_weight:.2g})."
            )


def _revenue(trial: Trial, arms: Sequence[object], name: str) -> Iterator[str]:
    r = np.asarray(trial.r, np.float64)
    if len(r) and r.min() == r.max():
        yield f"{name} is {r[0]:.4g} in every row: no treatment can bring more than another."
        return
    conversions = np.bincount(np.asarray(trial.t), r != 0, minlength=len(arms)).astype(int)
    few = [
        f"{converted:,} of the {count:,} given {shown(arm)}"
        for arm, count, converted in zip(arms, _counts(trial), conversions, strict=True)
        if count >= FEW > converted
    ]
    if few:
        yield f"Few people brought any revenue: {', '.join(few)}. What these treatments bring is known only roughly."
    if not clearly_positive(r.mean(), r.std() / np.sqrt(len(r))):
        yield (
            f"Mean revenue is {r.mean():.4g} per person, not clearly above 0: percentages of it mean nothing, read "
            "differences in money."
        )


def _cost(trial: Trial, arms: Sequence[object], name: str) -> Iterator[str]:
    c, t, counts = np.asarray(trial.c, np.float64), np.asarray(trial.t), _counts(trial)
    if len(c) and c.min() == c.max():
        yield (
            f"{name} is {c[0]:.4g} in every row: no budget decides anything. Give the column, or the cost of each "
            "treatment, that says what it cost."
        )
        return
    means = np.bincount(t, c, minlength=len(arms)) / np.maximum(counts, 1)
    below = int((c < 0).sum())
    saving = [
        f"{shown(arm)} ({mean:.4g})" for arm, mean, count in zip(arms, means, counts, strict=True) if count and mean < 0
    ]
    if below:
        who = f", so that {', '.join(saving)} costs less than nothing on average" if saving else ""
        yield (
            f"{name} is below 0 in {below:,} of {len(c):,} rows (least {c.min():.4g}){who}: a budget limits what is "
            "spent. Give what was spent as cost, and count what was saved as revenue."
        )
    given = means[counts > 0]
    if len(given) > 1 and np.ptp(given) <= 1e-6 * np.abs(given).max():
        yield (
            f"{name} is the same of all treatments, {given[0]:.4g} per person on average: no budget decides between "
            "them. Give the column, or the cost of each treatment, that says what it cost."
        )


def _counts(trial: Trial) -> np.ndarray:
    return np.bincount(np.asarray(trial.t), minlength=trial.p.shape[-1])
