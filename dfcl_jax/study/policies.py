"""From a study's cell to the policy that is deployed."""

from collections.abc import Sequence

import numpy as np

from dfcl_jax.data import Split
from dfcl_jax.methods import Mixture, Policy
from dfcl_jax.metrics import spend_curve
from dfcl_jax.study.comparison import Study, measured_scores, params_of


def mixture_of(study: Study, splits: Sequence[Split], name: str, *, arms: tuple[str, ...]) -> Mixture:
    """The policies of one method on the folds of a trial, as one: its value is what `prove` estimates.

    Args:
        study: what was trained.
        splits: the tasks and exams of all folds.
        name: of the method.
        arms: names of the treatments, [m].
    """
    return Mixture(tuple(policy_of(study, split, name, arms=arms) for split in splits))


def policy_of(study: Study, split: Split, name: str, *, arms: tuple[str, ...]) -> Policy:
    """The policy of one method on one seed's task, with a spend curve measured on the people of its exam.

    No model was trained on them, and no truth of a simulation is used: the curve is what a platform could measure.

    Args:
        study: what was trained.
        split: the seed's task and exam.
        name: of the method.
        arms: names of the treatments, [m].
    """
    method, test = study.methods[name], split.exam.test
    params, base_params = (params_of(study, each, split) for each in (name, study.judge.base))
    settling = measured_scores(study.judge.settle, split, study.methods[study.judge.base], base_params)
    clusters = None if test.cluster is None else np.asarray(test.cluster)
    hat = method.predict(params, test.x)
    curve = spend_curve(hat, settling, weights=test.weight, clusters=clusters, seen=test)
    return Policy(method, params, split.encoder, arms, curve)
