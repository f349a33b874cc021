"""Training on several devices, of one process or of many: rows are spread over them, everything else is on each.

Not every loss is a sum over rows, but every loss is a function of predictions, which are small. So each device predicts
for its own rows of a batch; predictions and outcomes of the whole batch are gathered; each device computes from them
the loss and its gradient by the predictions, takes its own rows of that gradient back through its layers, and the
gradients of the parameters are added up. That is exact for any loss. Of a `MeanOverRows` nothing is gathered.

On several hosts every process runs the same script, begins with `jax.distributed.initialize()`, and gives its own rows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dfcl_jax.errors import refuse
from dfcl_jax.models import Model, Params
from dfcl_jax.train.config import FitConfig
from dfcl_jax.train.step import Learner, MeanOverRows, Objective, Rows, Step
from dfcl_jax.types import Outcomes, Trial

AXIS = "data"


def data_mesh(devices: int | None = None) -> Mesh:
    """All devices of all processes, or the first few, along one axis."""
    return Mesh(np.array(jax.devices()[:devices]), (AXIS,))


def mesh_of(config: FitConfig) -> Mesh | None:
    """The devices of a stage, where it asks for more than one.

    Raises:
        InputError: there are fewer.
    """
    # Not when the configuration is made, which must not be where JAX looks for its devices first.
    if config.devices > jax.device_count():
        refuse("devices", found=config.devices, expected=f"at most {jax.device_count()}, as many as there are")
    return None if config.devices == 1 else data_mesh(config.devices)


def number_of_devices(mesh: Mesh | None) -> int:
    """How many devices a batch is spread over.

    Raises:
        InputError: a mesh whose axes are not the one axis `AXIS`.
    """
    if mesh is None:
        return 1
    if mesh.axis_names != (AXIS,):
        refuse("mesh", found=f"axes {mesh.axis_names}", expected=f"the axis {AXIS!r} alone, as of `data_mesh`")
    return mesh.devices.size


def step_on_mesh(
    build: Callable[..., Step],
    model: Model,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    **options: Any,
) -> Step:
    """`build`, such as `make_step`, within `spread`: each device has its rows of a batch and takes the whole's step."""

    def update(gradient: Params, memory: optax.OptState, params: Params) -> tuple[Params, optax.OptState]:
        return optimiser.update(jax.lax.psum(gradient, AXIS), memory, params)

    share = share_of(objective)
    step = build(model, share, optax.GradientTransformation(optimiser.init, update), **options)  # pyright: ignore

    def whole(learner: Learner, rows: Rows, shared: Any) -> tuple[Learner, Array]:
        learner, loss = step(learner, rows, shared)
        return learner, jax.lax.psum(loss, AXIS)

    return whole


def share_of(objective: Objective) -> Objective:
    """What this device, which has some rows of a batch, adds to the objective of the batch and to its gradient."""
    if isinstance(objective, MeanOverRows):
        loss = objective.loss
        return MeanOverRows(lambda outcomes, rows, shared: loss(outcomes, rows, shared) / jax.lax.axis_size(AXIS))
    return partial(_share, objective)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _share(objective: Objective, outcomes: Outcomes, rows: Rows, shared: Any) -> Array:
    """L / K on each of K devices, L the loss of the whole batch; the gradient is that of the sum over devices, L."""
    return _share_fwd(objective, outcomes, rows, shared)[0]


def _share_fwd(objective: Objective, outcomes: Outcomes, rows: Rows, shared: Any) -> tuple[Array, Outcomes]:
    whole = partial(jax.lax.all_gather, axis_name=AXIS, tiled=True)
    # What of the rows the objective does not read, the compiler does not send.
    everyone = jax.tree.map(lambda leaf, spec: whole(leaf) if spec == P(AXIS) else leaf, rows, row_specs(rows))
    loss, gradient = jax.value_and_grad(objective)(jax.tree.map(whole, outcomes), everyone, shared)
    n = outcomes.r.shape[0]
    first = jax.lax.axis_index(AXIS) * n
    own = jax.tree.map(lambda slope: jax.lax.dynamic_slice_in_dim(slope, first, n), gradient)
    return loss / jax.lax.axis_size(AXIS), own


def _share_bwd(objective: Objective, own: Outcomes, cotangent: Array) -> tuple[Outcomes, None, None]:
    del objective
    return jax.tree.map(lambda slope: cotangent * slope, own), None, None


_share.defvjp(_share_fwd, _share_bwd)


def predict_on_mesh(predict: Callable[[Params, Array], Outcomes], params: Params, x: Array) -> Outcomes:
    """Within `spread`: predictions for x [n, d], which every device has, of n / K rows by each of K devices."""
    n, devices = x.shape[0], jax.lax.axis_size(AXIS)
    each = -(-n // devices)
    # The last devices begin early enough to have as many rows as the others, and predict for some of them again.
    firsts = np.minimum(np.arange(devices) * each, n - each)
    first = jnp.asarray(firsts)[jax.lax.axis_index(AXIS)]
    parts = jax.lax.all_gather(predict(params, jax.lax.dynamic_slice_in_dim(x, first, each)), AXIS)
    device, place = np.arange(n) // each, np.arange(n) - firsts[np.arange(n) // each]
    return jax.tree.map(lambda part: part[device, place], parts)


def spread(mesh: Mesh | None, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` on every device of the mesh: arguments that are `Rows` come in parts, others and results are whole."""
    if mesh is None:
        return function

    def on_mesh(*arguments: Any) -> Any:
        specs = tuple(row_specs(argument) if isinstance(argument, Rows) else P() for argument in arguments)
        # Losses are any code, whose loops would have to say which of their values differ between devices.
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False)(*arguments)

    return on_mesh


def row_specs(rows: Rows, *, leading: int = 0) -> Rows:
    """Which axis of each leaf is spread: that of the rows, after `leading` others; of shared propensities, none."""
    spec = P(*[None] * leading, AXIS)
    shared = rows.trial.p.ndim == leading + 1
    return Rows(
        Trial(x=spec, t=spec, r=spec, c=spec, p=P() if shared else spec),  # pyright: ignore
        jax.tree.map(lambda _: spec, rows.extra),
    )


def place_rows(mesh: Mesh | None, rows: Rows, *, leading: int = 0) -> Rows:
    """Rows on the devices of the mesh, equally many on each.

    Args:
        mesh: where to; None: the rows stay where they are.
        rows: the rows of this process; those of all processes, in their order, are the rows of the batch or data set.
        leading: axes of each leaf before that of the rows (seeds).

    Raises:
        InputError: rows that the devices of this process do not divide; a mesh as of `number_of_devices`.
    """
    if mesh is None:
        return rows
    n, devices = rows.trial.t.shape[leading], number_of_devices(mesh) // jax.process_count()
    if n % devices:
        refuse("rows", found=n, expected=f"a multiple of the {devices} devices")

    return jax.tree.map(partial(_place, mesh), rows, row_specs(rows, leading=leading))


def place_everywhere(mesh: Mesh | None, tree: Any) -> Any:
    """A tree, the same in every process, whole on every device of the mesh; without one it stays where it is."""
    return tree if mesh is None else jax.tree.map(lambda leaf: _place(mesh, leaf, P()), tree)


def _place(mesh: Mesh, leaf: Any, spec: P) -> Array:
    sharding = NamedSharding(mesh, spec)
    if jax.process_count() == 1:
        return jax.device_put(leaf, sharding)
    if isinstance(leaf, Array) and not leaf.is_fully_addressable:
        return leaf
    if isinstance(leaf, Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _place(mesh, jax.random.key_data(leaf), spec)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))


def fetch(mesh: Mesh | None, tree: Any) -> Any:
    """What every device of a mesh has, as arrays of this process."""
    return tree if mesh is None else jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), tree)
