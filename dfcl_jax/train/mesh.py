"""Training on several devices, of one process or of many: rows are spread over them, everything else is on each.

Not every loss is a sum over rows, but every loss is a function of predictions, which are small. So each device predicts
for its own rows of a batch, and the predictions and outcomes of the whole batch are gathered. Each device computes the
loss of the whole batch and its gradient with respect to the predictions, and takes its own rows of that gradient back
through the network. The gradients of the parameters are then summed. That is exact for any loss. For a `MeanOverRows`
nothing is gathered.

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
from dfcl_jax.train.step import Learner, MeanOverRows, Objective, OfNetwork, Rows, Step
from dfcl_jax.types import Outcomes

AXIS = "data"


def data_mesh(devices: int | None = None) -> Mesh:
    """All devices of all processes along one axis, or only the first `devices`."""
    return Mesh(np.array(jax.devices()[:devices]), (AXIS,))


def mesh_of(config: FitConfig) -> Mesh | None:
    """The mesh of a stage, or None if it uses one device.

    Raises:
        InputError: there are fewer devices than the stage asks for.
    """
    # Not checked by the configuration, because making one must not initialise the devices of JAX.
    if config.devices > jax.device_count():
        refuse("devices", found=config.devices, expected=f"at most {jax.device_count()}, as many as there are")
    return None if config.devices == 1 else data_mesh(config.devices)


def number_of_devices(mesh: Mesh | None) -> int:
    """How many devices a batch is spread over.

    Raises:
        InputError: the mesh has other axes than the one axis `AXIS`.
    """
    if mesh is None:
        return 1
    if mesh.axis_names != (AXIS,):
        refuse("mesh", found=f"axes {mesh.axis_names}", expected=f"the axis {AXIS!r} alone, as of `data_mesh`")
    return mesh.devices.size


def step_on_mesh(
    build: Callable[..., Step],
    model: Model,
    objective: Objective | OfNetwork,
    optimiser: optax.GradientTransformation,
    **options: Any,
) -> Step:
    """Build a step for use within `spread`: each device has some rows of a batch and takes the step of all of them."""

    def update(gradient: Params, memory: optax.OptState, params: Params) -> tuple[Params, optax.OptState]:
        return optimiser.update(jax.lax.psum(gradient, AXIS), memory, params)

    share = share_of(objective)
    step = build(model, share, optax.GradientTransformation(optimiser.init, update), **options)  # pyright: ignore

    def whole(learner: Learner, rows: Rows, shared: Any) -> tuple[Learner, Array]:
        learner, loss = step(learner, rows, shared)
        return learner, jax.lax.psum(loss, AXIS)

    return whole


def mean_over(mesh: Mesh | None) -> Callable[[Any], Any]:
    """Return what takes the mean of each leaf over the devices, within `spread`; without a mesh leaves stay."""
    return (lambda tree: tree) if mesh is None else partial(jax.lax.pmean, axis_name=AXIS)


def share_of(objective: Objective | OfNetwork) -> Objective:
    """The share of the objective, and of its gradient, that the rows of this device add to those of the batch.

    Raises:
        InputError: an objective that sees the network, whose batch is computed at once.
    """
    if isinstance(objective, OfNetwork):
        refuse(
            "devices", found="a mesh, with a loss that sees more of a network than predictions", expected="one device"
        )
    if isinstance(objective, MeanOverRows):
        loss = objective.loss
        return MeanOverRows(lambda outcomes, rows, shared: loss(outcomes, rows, shared) / jax.lax.axis_size(AXIS))
    return partial(_share, objective)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _share(objective: Objective, outcomes: Outcomes, rows: Rows, shared: Any) -> Array:
    """L / K on each of K devices, where L is the loss of the whole batch; the gradient is that of their sum, L."""
    return _share_fwd(objective, outcomes, rows, shared)[0]


def _share_fwd(objective: Objective, outcomes: Outcomes, rows: Rows, shared: Any) -> tuple[Array, Outcomes]:
    whole = partial(jax.lax.all_gather, axis_name=AXIS, tiled=True)
    # The compiler does not send what the objective does not read.
    everyone = jax.tree.map(lambda leaf, spec: whole(leaf) if spec == P(AXIS) else leaf, rows, row_specs(rows))
    loss, gradient = jax.value_and_grad(objective)(jax.tree.map(whole, outcomes), everyone, shared)
    n = outcomes.r.shape[0]
    first = jax.lax.axis_index(AXIS) * n
    own = jax.tree.map(lambda slope: jax.lax.dynamic_slice_in_dim(slope, first, n), gradient)
    return loss / jax.lax.axis_size(AXIS), own


def _share_bwd(_objective: Objective, own: Outcomes, cotangent: Array) -> tuple[Outcomes, None, None]:
    return jax.tree.map(lambda slope: cotangent * slope, own), None, None


_share.defvjp(_share_fwd, _share_bwd)


def predict_on_mesh(predict: Callable[[Params, Array], Outcomes], params: Params, x: Array) -> Outcomes:
    """Predict within `spread`: every device has all of x [n, d] and predicts n / K of its rows."""
    n, devices = x.shape[0], jax.lax.axis_size(AXIS)
    each = -(-n // devices)
    # All devices predict equally many rows; the last ones may repeat rows of others, which are dropped.
    firsts = np.minimum(np.arange(devices) * each, n - each)
    first = jnp.asarray(firsts)[jax.lax.axis_index(AXIS)]
    parts = jax.lax.all_gather(predict(params, jax.lax.dynamic_slice_in_dim(x, first, each)), AXIS)
    device, place = np.arange(n) // each, np.arange(n) - firsts[np.arange(n) // each]
    return jax.tree.map(lambda part: part[device, place], parts)


def spread(mesh: Mesh | None, function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function on every device of the mesh: arguments that are `Rows` are split, all else is whole on each."""
    if mesh is None:
        return function

    def on_mesh(*arguments: Any) -> Any:
        specs = tuple(row_specs(argument) if isinstance(argument, Rows) else P() for argument in arguments)
        # Not checked: a loss is any code, and its loops would have to declare which values differ between devices.
        return jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False)(*arguments)

    return on_mesh


def row_specs(rows: Rows, *, leading: int = 0) -> Rows:
    """Spread the axis of rows of each leaf, which comes after `leading` others, but not shared propensities."""
    spec = P(*[None] * leading, AXIS)
    shared = rows.trial.p.ndim == leading + 1
    trial, extra = jax.tree.map(lambda _: spec, rows)
    return Rows(trial._replace(p=P()) if shared else trial, extra)


def place_rows(mesh: Mesh | None, rows: Rows, *, leading: int = 0) -> Rows:
    """Place rows on the devices of the mesh, equally many on each.

    Args:
        mesh: the devices; None: the rows stay where they are.
        rows: the rows of this process; those of all processes in order are the rows of the batch or data set.
        leading: axes of each leaf before the axis of the rows (seeds).

    Raises:
        InputError: the devices of this process do not divide the rows; what `number_of_devices` refuses.
    """
    if mesh is None:
        return rows
    n, devices = rows.trial.t.shape[leading], number_of_devices(mesh) // jax.process_count()
    if n % devices:
        refuse("rows", found=n, expected=f"a multiple of the {devices} devices")

    return jax.tree.map(partial(_place, mesh), rows, row_specs(rows, leading=leading))


def place_everywhere(mesh: Mesh | None, tree: Any) -> Any:
    """Place a tree whole on every device of the mesh; without a mesh it stays where it is."""
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
    """Return a tree that is whole on every device of a mesh as arrays of this process."""
    return tree if mesh is None else jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), tree)
