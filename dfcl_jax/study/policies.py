"""From a study's cell to the policy that is deployed."""

from dfcl_jax.data import Split
from dfcl_jax.methods import Policy
from dfcl_jax.metrics import spend_curve
from dfcl_jax.study.comparison import Study, measured_scores


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
    params, base_params = (
        next(cell.params for cell in study.cells[each] if cell.seed == split.task.seed)
        for each in (name, study.judge.base)
    )
    settling = measured_scores(study.judge.settle, split, study.methods[study.judge.base], base_params)
    curve = spend_curve(method.predict(params, test.x), settling, seen=test)
    return Policy(method, params, split.encoder, arms, curve)
