"""Outcome models: from features to revenue and cost under every treatment."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.types import Outcomes

Params = Any
Link = Literal["identity", "softplus", "sigmoid"]
Compute = Literal["float32", "bfloat16"]
Through = Literal["both", "revenue"]

_LINKS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda a: a,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
}


class Model(NamedTuple):
    """The pure functions that a method needs from a model."""

    init: Callable[[Array, Array], Params]  # (key, x [n, d]) -> params
    apply: Callable[[Params, Array], Outcomes]  # (params, x [n, d]) -> Outcomes, [n, m] each
    # (params, x) -> Outcomes, [k, n, m] each, of members that each have their own loss; None if there are no members
    members: Callable[[Params, Array], Outcomes] | None = None
    # Same as `members`, or as `apply`, but revenue and cost share at most a trunk, so the gradient of one costs only
    # its own part; None if this would save nothing
    apart: Callable[[Params, Array], Outcomes] | None = None


def mlp(m: int, *, hidden: Sequence[int] = (64, 32, 32), link: Link = "identity") -> Model:
    """One network with 2m outputs, m of revenue and then m of cost (DFCL section 4, marketing).

    Args:
        m: number of treatments.
        hidden: widths of the hidden layers.
        link: function from an output to an outcome: "identity", "softplus" (positive) or "sigmoid" (in [0, 1]).
    """
    return _from_module(_MLP(m=m, hidden=tuple(hidden)), link)


def shared_trunk(
    m: int, *, trunk: Sequence[int] = (127,), head: Sequence[int] = (64,), link: Link = "sigmoid"
) -> Model:
    """A trunk shared by all treatments, and a head for each outcome of each treatment (DFCL section 4, Criteo).

    The published network appends the treatment indicator to the trunk. Each head belongs to one treatment, for which
    the indicator is constant, so here the head's bias replaces it.

    Args:
        m: number of treatments.
        trunk: widths of the shared layers.
        head: widths of each head's hidden layers.
        link: as in `mlp`.
    """
    both, one = (_SharedTrunk(heads=heads, trunk=tuple(trunk), head=tuple(head)) for heads in (2 * m, m))

    def apart(params: Params, x: Array) -> Outcomes:
        return Outcomes(*(_LINKS[link](jnp.asarray(one.apply(_half(params, k), x))) for k in (0, 1)))

    return _from_module(both, link)._replace(apart=apart)


class Represented(NamedTuple):
    """A network whose heads read a representation that losses may look at."""

    model: Model
    represent: Callable[[Params, Array], Array]  # (params, x [n, d]) -> [n, k]


def represented(m: int, *, trunk: Sequence[int], head: Sequence[int], link: Link = "identity") -> Represented:
    """A trunk that makes a representation, and a head on it for each outcome of each treatment.

    Args:
        m: number of treatments.
        trunk: widths of the layers of the representation, whose last is its own.
        head: widths of each head's hidden layers.
        link: as in `mlp`.
    """
    below, heads = _Trunk(tuple(trunk)), _from_module(_SharedTrunk(heads=2 * m, trunk=(), head=tuple(head)), link)

    def represent(params: Params, x: Array) -> Array:
        return jnp.asarray(below.apply(params["trunk"], x))

    def init(key: Array, x: Array) -> Params:
        trunk_key, heads_key = jax.random.split(key)
        lower = below.init(trunk_key, x)
        return {"trunk": lower, "heads": heads.init(heads_key, jnp.asarray(below.apply(lower, x)))}

    return Represented(Model(init, lambda params, x: heads.apply(params["heads"], represent(params, x))), represent)


def per_arm(m: int, *, hidden: Sequence[int] = (64, 32, 32), link: Link = "identity") -> Model:
    """A network for each treatment, which shares nothing with the others (T-learner; Kuenzel et al. 2019).

    Trained on the prediction loss (DFCL, D4), each learns from the people of its own treatment alone.
    """
    one = mlp(1, hidden=hidden, link=link)

    def init(key: Array, x: Array) -> Params:
        return jax.vmap(lambda arm: one.init(arm, x))(jax.random.split(key, m))

    def apply(params: Params, x: Array) -> Outcomes:
        surfaces = jax.vmap(one.apply, in_axes=(0, None))(params, x)
        return jax.tree.map(lambda surface: surface[:, :, 0].T, surfaces)

    return Model(init, apply)


def monotone(m: int, *, hidden: Sequence[int] = (64, 32, 32), link: Link = "identity", concave: bool = False) -> Model:
    """A network whose revenue and cost rise from each treatment to the next, for whatever features (CN).

    With a base g and raw steps e_j, y_0 = link(g) and y_j = link(g + sum_{k <= j} s(e_k)), s(e) = softplus(10 e) / 10.
    With `concave`, the steps of revenue also fall: step k is sum_{l >= k} s(e_l), before the link. After Wang et al.
    (KDD 2023), whose increments between treatments are constrained to be non-negative.

    Args:
        m: number of treatments, in the order of their cost.
        hidden: widths of the hidden layers.
        link: as in `mlp`.
        concave: whether steps of revenue fall from each treatment to the next, too.
    """
    raw = mlp(m, hidden=hidden)

    def rising(output: Array, falling: bool) -> Array:
        # Steps are a small part of the model's unit, which a plain softplus would start at 0.7 of.
        steps = jax.nn.softplus(10 * output[:, 1:]) / 10
        steps = jnp.cumsum(steps[:, ::-1], axis=1)[:, ::-1] if falling else steps
        return _LINKS[link](jnp.cumsum(jnp.concatenate([output[:, :1], steps], axis=1), axis=1))

    def apply(params: Params, x: Array) -> Outcomes:
        r, c = raw.apply(params, x)
        return Outcomes(rising(r, concave), rising(c, False))

    return Model(raw.init, apply)


def ensemble(model: Model, k: int) -> Model:
    """The mean of k models of one shape, trained side by side from different starting points.

    With a loss of the mean, members could overfit together. So each member has its own loss, and only predictions are
    averaged.
    """

    def init(key: Array, x: Array) -> Params:
        return jax.vmap(lambda member: model.init(member, x))(jax.random.split(key, k))

    def members(params: Params, x: Array) -> Outcomes:
        return jax.vmap(model.apply, in_axes=(0, None))(params, x)

    def apply(params: Params, x: Array) -> Outcomes:
        return jax.tree.map(lambda surfaces: surfaces.mean(axis=0), members(params, x))

    return Model(init, apply, members, model.apart and jax.vmap(model.apart, in_axes=(0, None)))


def in_precision(apply: Callable[[Params, Array], Outcomes], compute: Compute) -> Callable[[Params, Array], Outcomes]:
    """Return `apply` with hidden layers in precision `compute`; parameters, gradients and predictions stay as they are.

    In bfloat16, features, parameters and hidden units are rounded to 8 bits, a relative error of up to 2^-9. The last
    layer multiplies and adds in float32, so that predictions of two treatments still differ if the layers do.
    """
    if compute == "float32":
        return apply

    def rounded(params: Params, x: Array) -> Outcomes:
        return apply(*jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, x)))

    return rounded


def through_revenue(model: Model) -> Callable[[Params, Array], Outcomes]:
    """The model with no gradient on cost predictions, as the authors ran DFCL-IFD on Criteo; [k, n, m] of k members."""
    surfaces = model.apart or model.members or model.apply

    def revenue(params: Params, x: Array) -> Outcomes:
        r, c = surfaces(params, x)
        return Outcomes(r, jax.lax.stop_gradient(c))

    return revenue


class _MLP(nn.Module):
    m: int
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(2 * self.m, dtype=_at_least_single(x))(x)


class _Trunk(nn.Module):
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return x


class _SharedTrunk(nn.Module):
    heads: int
    trunk: tuple[int, ...]
    head: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in self.trunk:
            x = nn.relu(nn.Dense(width)(x))
        # All heads read the trunk, so their first layer is one matrix product.
        first, *others = (*self.head, 1)
        h = nn.Dense(self.heads * first, name="heads_0")(x).reshape(x.shape[0], self.heads, first)
        for k, width in enumerate(others, start=1):
            if k == len(others):
                h = h.astype(_at_least_single(h))
            h = _HeadLayer(width, name=f"heads_{k}")(nn.relu(h))
        return h[:, :, 0]


def _half(params: Params, k: int) -> Params:
    """Return the parameters of a `_SharedTrunk` with the heads of revenue alone (k = 0) or of cost alone (k = 1)."""
    axes = {name: -1 if name == "heads_0" else 0 for name in params["params"] if name.startswith("heads")}
    halves = {
        name: jax.tree.map(lambda leaf, axis=axis: jnp.split(leaf, 2, axis)[k], params["params"][name])
        for name, axis in axes.items()
    }
    return {"params": params["params"] | halves}


def _at_least_single(x: Array) -> jnp.dtype:
    return jnp.promote_types(x.dtype, jnp.float32)


class _HeadLayer(nn.Module):
    """A dense layer with separate weights for each head: [n, heads, in] -> [n, heads, width]."""

    width: int

    @nn.compact
    def __call__(self, h: Array) -> Array:
        _, heads, size = h.shape
        initializer = nn.initializers.lecun_normal(in_axis=-2, out_axis=-1, batch_axis=(0,))
        kernel = self.param("kernel", initializer, (heads, size, self.width))
        bias = self.param("bias", nn.initializers.zeros_init(), (heads, self.width))
        if self.width == 1:
            # On a CPU, a weighted sum is faster here than a matrix product of width 1.
            return (h * kernel[None, :, :, 0]).sum(axis=2, keepdims=True) + bias[None]
        return jnp.einsum("nhi,hiw->nhw", h, kernel) + bias[None]


def _from_module(module: nn.Module, link: Link) -> Model:
    def apply(params: Params, x: Array) -> Outcomes:
        outputs = jnp.asarray(module.apply(params, x))
        r, c = jnp.split(_LINKS[link](outputs), 2, axis=1)
        return Outcomes(r, c)

    def init(key: Array, x: Array) -> Params:
        return module.init(key, x)

    return Model(init, apply)
