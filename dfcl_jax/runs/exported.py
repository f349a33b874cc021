"""A policy for serving without this library: a program that decides, its data, and the code that runs them."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import Array

from dfcl_jax.data import Encoder
from dfcl_jax.errors import refuse
from dfcl_jax.methods import Mixture, Policy
from dfcl_jax.methods.saved import POLICY, plain_parts, with_checksum, write_folder
from dfcl_jax.runs import serve
from dfcl_jax.solvers import Rule, decide, dice
from dfcl_jax.types import Outcomes

PROGRAM = "decide.stablehlo"
SERVE = "serve.py"


def export_policy(
    policy: Policy | Mixture,
    folder: str | Path,
    *,
    features: int | None = None,
    key: Array | None = None,
    platforms: Sequence[str] = ("cpu",),
) -> None:
    """Write a policy to a folder that serves without this library.

    `decide.stablehlo` is a program for batches of any size b, serialised by `jax.export`:

        (x [b, d] float32, rows [b] uint32, lam [], dearer [], share [] float32, cheapest [] int32) -> treatments [b]

    `policy.json` holds encoder, treatments and curve; `serve.py` puts them together with JSON, NumPy, pandas and JAX
    alone. Where the folder is:

        from serve import Served

        decide = Served(".")
        names = decide(pandas.read_csv("people.csv"), 0.05)

    Its decisions are those of `policy`, except that another batch size may round predictions in another order: a person
    whose best two treatments tie within float32 may then get the other one.

    Args:
        policy: to export.
        folder: to be; an exported policy that is there already is replaced.
        features: d, where the policy has no encoder that says it.
        key: of the dice; key 0 if not given.
        platforms: that the program is for: "cpu", "cuda", "tpu".

    Raises:
        InputError: the folder exists and holds no policy; no number of features; a mixture, whose policies are exported
            one by one.
    """
    if isinstance(policy, Mixture):
        refuse("policy", found=f"a mixture of {len(policy.policies)}", expected="one of its policies")
    program = _program(policy, _width(policy.encoder, features), key, platforms)
    code = Path(serve.__file__).read_bytes()
    files = {PROGRAM: program, SERVE: code, POLICY: with_checksum(plain_parts(policy))}
    write_folder(Path(folder), files, replaces=POLICY)


def _width(encoder: Encoder | None, features: int | None) -> int:
    if encoder is not None:
        return len(encoder.names)
    if features is None:
        refuse("features", found="none", expected="how many there are, for a policy without an encoder")
    return features


def _program(policy: Policy, d: int, key: Array | None, platforms: Sequence[str]) -> bytes:
    key = jax.random.key(0) if key is None else key

    # One person at a time: a method may look at the number of people, which is not known here.
    def predicted(x: Array) -> Outcomes:
        return jax.tree.map(lambda surface: surface[0], policy.method.predict(policy.params, x[None]))

    def decided(x: Array, rows: Array, *rule: Array) -> Array:
        return decide(jax.vmap(predicted)(x), Rule(*rule), dice(key, rows))

    (b,) = jax.export.symbolic_shape("b")
    scalars = [jax.ShapeDtypeStruct((), kind) for kind in (jnp.float32,) * 3 + (jnp.int32,)]
    x, rows = jax.ShapeDtypeStruct((b, d), jnp.float32), jax.ShapeDtypeStruct((b,), jnp.uint32)
    return bytes(jax.export.export(jax.jit(decided), platforms=list(platforms))(x, rows, *scalars).serialize())
