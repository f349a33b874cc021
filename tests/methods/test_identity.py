import json
from dataclasses import replace
from functools import partial

import optax
import pytest

from dfcl_jax import METHODS, Decision, InputError, scores
from dfcl_jax.losses import constants
from dfcl_jax.methods import describe, rebuild


@pytest.mark.parametrize("name", METHODS)
def test_a_method_comes_back_from_json_as_it_was(name):
    assert rebuild(json.loads(json.dumps(describe(METHODS[name])))) == METHODS[name]


def test_every_option_tells_methods_apart():
    base = METHODS["PL-centred"]
    assert isinstance(base, Decision)
    others = [
        replace(base, tracked=True),
        replace(base, alpha=1.0),
        replace(base, alpha=optax.linear_schedule(1.0, 0.0, 6)),
        replace(base, alpha=optax.linear_schedule(2.0, 0.0, 6)),
        replace(base, scores=scores.aipw),
        replace(base, constants=partial(constants.fitted, temperature_in_spreads=1.0)),
        replace(base, start=replace(base.start, training=replace(base.start.training, epochs=3))),
    ]
    texts = {json.dumps(describe(method), sort_keys=True) for method in [base, *others]}
    assert len(texts) == 1 + len(others)


def test_a_loss_that_was_edited_is_another():
    def of(source: str):
        space: dict = {"__name__": "elsewhere"}
        exec(source, space)
        return describe(space["loss"])

    assert of("def loss(o, s, k): return o.r.mean()") == of("def loss(o, s, k): return o.r.mean()")
    assert of("def loss(o, s, k): return o.r.mean()") != of("def loss(o, s, k): return 2 * o.r.mean()")


def test_a_function_that_is_gone_is_refused_where_it_is_called():
    gone = rebuild({"function": "no_such_module:loss"})
    with pytest.raises(InputError, match="function no_such_module:loss of a saved method: found nothing to import"):
        gone()


def test_what_has_no_description_is_refused():
    with pytest.raises(InputError, match="option of a method: found <object"):
        describe(object())
