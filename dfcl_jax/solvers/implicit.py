"""Derivatives of an argmin by the implicit function theorem, whatever solver found the argmin.

With theta*(phi) = argmin_theta L(phi, theta) and a function U of theta* alone,

    dU/dphi = - (d2 L / dphi dtheta)^T v,   where v solves  H v = dU/dtheta,  H = d2 L / dtheta2   (Bi-DFCL, B9).

The linear system is solved by conjugate gradients on products with H, so no Hessian is built, and no path of a solver
is stored. At a minimum H is positive semi-definite. Away from one, where the training of a network always is, the H of
a network is indefinite: conjugate gradients then stop early, and what they have is no solution. The Gauss-Newton
product leaves out the curvature of the network itself, and is positive semi-definite for any loss that is convex in
the predictions. So `argmin`, which is given a minimum, solves with H unless it is told otherwise, and the training of
networks (`train.Hypergradient`) with the Gauss-Newton product.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from dfcl_jax.errors import is_concrete, refuse

Tree = Any
# v -> A v for a symmetric A; both are pytrees of one structure.
Product = Callable[[Tree], Tree]


class Solution(NamedTuple):
    """What conjugate gradients came to."""

    x: Tree  # of the structure of b
    residual: Array  # [] |b - (A + damping I) x|, in the unit of b, as the iterations track it
    steps: Array  # [] int, products that were taken
    negative: Array  # [] bool, whether a direction without positive curvature ended them


def conjugate_gradients(
    product: Product, b: Tree, *, damping: ArrayLike = 0.0, steps: int = 100, tolerance: ArrayLike = 1e-6
) -> Solution:
    """Solve (A + damping I) x = b for a symmetric A that is known by its products.

    Stops when |b - (A + damping I) x| <= tolerance |b|, or after `steps` products, or at a direction p with
    p^T (A + damping I) p that is not above 0, for which x is the one before that step: if A is indefinite along b
    itself, 0. It can be compiled, mapped and scanned, but not differentiated.

    Args:
        product: v -> A v.
        b: the right-hand side, a pytree of floats.
        damping: what is added to the diagonal of A; it bounds |x| by |b| / damping for a positive semi-definite A.
        steps: most products.
        tolerance: of the residual, relative to |b|.

    Raises:
        InputError: fewer than 1 step; a negative damping or tolerance (outside `jit`).
    """
    if steps < 1:
        refuse("steps of conjugate gradients", found=steps, expected="at least 1")
    for name, number in (("damping", damping), ("tolerance", tolerance)):
        if is_concrete(number) and not 0 <= np.asarray(number) < np.inf:
            refuse(f"{name} of conjugate gradients", found=number, expected="a finite number of at least 0")
    right, unravel = ravel_pytree(b)
    damping, tolerance = (jnp.asarray(number, right.dtype) for number in (damping, tolerance))
    enough = tolerance**2 * (right @ right)

    def apply(p: Array) -> Array:
        return ravel_pytree(product(unravel(p)))[0].astype(right.dtype) + damping * p

    def unfinished(now: _Iteration) -> Array:
        return (now.square > enough) & (now.steps < steps) & ~now.negative

    def iterate(now: _Iteration) -> _Iteration:
        image = apply(now.direction)
        curvature = now.direction @ image
        # False for NaN as well, which ends the iterations before it reaches x.
        positive = curvature > 0
        length = jnp.where(positive, now.square / jnp.where(positive, curvature, 1), 0)
        residual = now.residual - length * image
        residual = jnp.where(positive, residual, now.residual)
        square = residual @ residual
        direction = residual + square / now.square * now.direction
        return _Iteration(now.x + length * now.direction, residual, direction, square, now.steps + 1, ~positive)

    zero = jnp.zeros((), jnp.int32)
    start = _Iteration(jnp.zeros_like(right), right, right, right @ right, zero, jnp.zeros((), bool))
    end = jax.lax.while_loop(unfinished, iterate, start)
    return Solution(unravel(end.x), jnp.sqrt(end.square), end.steps, end.negative)


class _Iteration(NamedTuple):
    x: Array  # [p]
    residual: Array  # [p] b - A x
    direction: Array  # [p] the next one
    square: Array  # [] of the residual's length
    steps: Array  # []
    negative: Array  # []


def hessian_product(loss: Callable[[Tree], Array], theta: Tree) -> Product:
    """Make v -> H v with H = d2 loss / dtheta2 at theta: exact, and indefinite where the loss is not convex.

    The gradient is linearised once. Each product then costs about as much as a gradient.
    """
    return jax.linearize(jax.grad(loss), theta)[1]


def gauss_newton_product(predict: Callable[[Tree], Tree], loss: Callable[[Tree], Array], theta: Tree) -> Product:
    """Make v -> J^T (d2 loss / dy2) J v at theta, for loss(predict(theta)) with predictions y and J = dy / dtheta.

    It is the Hessian without the curvature of `predict`: positive semi-definite for a loss that is convex in y, and
    equal to the Hessian where `predict` is linear or the loss is stationary in y.
    """
    y, push = jax.linearize(predict, theta)
    pull = jax.linear_transpose(push, theta)
    curve = hessian_product(loss, y)
    return lambda v: pull(curve(push(v)))[0]


def implicit_hypergradient(loss: Callable[[Tree, Tree], Array], phi: Tree, theta: Tree, v: Tree) -> Tree:
    """-(d2 L / dphi dtheta)^T v at (phi, theta) for loss(phi, theta) (Bi-DFCL, B9), a pytree like phi.

    It is the gradient by phi of the slope of L along v, so it costs about as much as two gradients of L.
    """

    def slope(phi: Tree) -> Array:
        return jax.jvp(partial(loss, phi), (theta,), (v,))[1]

    return jax.tree.map(jnp.negative, jax.grad(slope)(phi))


def argmin(
    solve: Callable[[Tree], Tree],
    loss: Callable[[Tree, Tree], Array],
    *,
    curvature: Callable[[Tree, Tree], Product] | None = None,
    damping: ArrayLike = 0.0,
    steps: int = 100,
    tolerance: ArrayLike = 1e-6,
) -> Callable[[Tree], Tree]:
    """Return phi -> theta* = argmin_theta loss(phi, theta), found by `solve` and differentiated implicitly.

    The derivative is that of the exact argmin, taken where `solve` ended: its error is of the order of the distance to
    the argmin. `solve` itself is never differentiated, so it may be any code that JAX can trace.

    Args:
        solve: phi -> theta*.
        loss: (phi, theta) -> L, twice differentiable; phi holds every number that a derivative is wanted of.
        curvature: (phi, theta) -> product with the matrix that stands for H; None: H itself, `hessian_product`.
        damping: see `conjugate_gradients`, also for the options below.
        steps: most products.
        tolerance: of the residual.
    """

    def hessian(phi: Tree, theta: Tree) -> Product:
        return hessian_product(partial(loss, phi), theta)

    @jax.custom_vjp
    def solved(phi: Tree) -> Tree:
        return solve(phi)

    def forward(phi: Tree) -> tuple[Tree, tuple[Tree, Tree]]:
        theta = solve(phi)
        return theta, (phi, theta)

    def backward(at: tuple[Tree, Tree], cotangent: Tree) -> tuple[Tree]:
        product = (curvature or hessian)(*at)
        v = conjugate_gradients(product, cotangent, damping=damping, steps=steps, tolerance=tolerance).x
        return (implicit_hypergradient(loss, *at, v),)

    solved.defvjp(forward, backward)
    return solved
