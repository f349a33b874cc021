"""The derivative of an argmin against closed forms, unrolled steps and finite differences, all in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from dfcl_jax import InputError
from dfcl_jax.solvers import (
    argmin,
    conjugate_gradients,
    gauss_newton_product,
    hessian_product,
    implicit_hypergradient,
)

RNG = np.random.default_rng(0)
P, Q = 6, 3
ROOT, B, CROSS = RNG.normal(size=(P, P)), RNG.normal(size=P), RNG.normal(size=(P, Q))
A = ROOT @ ROOT.T + np.eye(P)
PHI = jnp.asarray(RNG.normal(size=Q))


def close(one, other, rtol):
    scale = np.abs(np.asarray(other)).max()
    np.testing.assert_allclose(one, other, rtol=0, atol=rtol * scale)


def as_tree(flat):
    return {"first": flat[: P - 2], "second": flat[P - 2 :].reshape(1, 2)}


def as_vector(tree):
    return jnp.concatenate([tree["first"], tree["second"].ravel()])


def by_matrix(matrix):
    return lambda tree: as_tree(jnp.asarray(matrix) @ as_vector(tree))


def test_conjugate_gradients_solve_what_a_dense_solver_solves():
    for damping in (0.0, 3.0):
        solution = jax.jit(partial(conjugate_gradients, by_matrix(A), tolerance=1e-12))(
            as_tree(jnp.asarray(B)), damping=damping
        )
        # 1e-12 of |b|, times the condition of A, which is below 100.
        close(as_vector(solution.x), np.linalg.solve(A + damping * np.eye(P), B), 1e-10)
        # P steps but for rounding.
        assert solution.steps <= P + 2
        assert not solution.negative


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_residual_that_is_stated_is_the_one_there_is(steps):
    solution = conjugate_gradients(by_matrix(A), as_tree(jnp.asarray(B)), damping=0.5, steps=steps, tolerance=0.0)
    left = B - (A + 0.5 * np.eye(P)) @ np.asarray(as_vector(solution.x))
    np.testing.assert_allclose(solution.residual, np.linalg.norm(left), rtol=1e-9)
    assert solution.steps == steps


def test_they_stop_at_the_tolerance_and_not_before():
    solution = conjugate_gradients(by_matrix(A), as_tree(jnp.asarray(B)), tolerance=0.1)
    assert solution.residual <= 0.1 * np.linalg.norm(B)
    before = conjugate_gradients(by_matrix(A), as_tree(jnp.asarray(B)), tolerance=0.0, steps=int(solution.steps) - 1)
    assert before.residual > 0.1 * np.linalg.norm(B)


def test_nothing_is_solved_by_nothing():
    solution = conjugate_gradients(by_matrix(A), as_tree(jnp.zeros(P)))
    assert solution.steps == 0
    np.testing.assert_array_equal(as_vector(solution.x), 0)


def test_negative_curvature_ends_them_at_the_iterate_before():
    matrix = np.diag([4.0, 3.0, 2.0, 1.0, 1.0, -5.0])
    b = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.1])
    solution = conjugate_gradients(by_matrix(matrix), as_tree(jnp.asarray(b)), tolerance=0.0)
    assert solution.negative
    assert 1 < solution.steps < P
    before = conjugate_gradients(
        by_matrix(matrix), as_tree(jnp.asarray(b)), tolerance=0.0, steps=int(solution.steps) - 1
    )
    np.testing.assert_array_equal(as_vector(solution.x), as_vector(before.x))
    # Enough damping makes the matrix positive.
    damped = conjugate_gradients(by_matrix(matrix), as_tree(jnp.asarray(b)), damping=6.0, tolerance=1e-12)
    close(as_vector(damped.x), b / (np.diag(matrix) + 6), 1e-10)


def test_a_product_that_is_not_a_number_leaves_a_number():
    solution = conjugate_gradients(lambda v: jax.tree.map(lambda leaf: leaf * jnp.nan, v), as_tree(jnp.asarray(B)))
    assert solution.negative
    np.testing.assert_array_equal(as_vector(solution.x), 0)


@pytest.mark.parametrize("option", [{"steps": 0}, {"damping": -1.0}, {"tolerance": float("nan")}])
def test_an_option_out_of_its_range_is_named(option):
    (name,) = option
    with pytest.raises(InputError, match=f"{name} of conjugate gradients: found"):
        conjugate_gradients(by_matrix(A), as_tree(jnp.asarray(B)), **option)


def quadratic(phi, theta):
    """Its argmin is A^-1 (B + CROSS phi)."""
    flat = as_vector(theta)
    return 0.5 * flat @ (jnp.asarray(A) @ flat) - flat @ (jnp.asarray(B) + jnp.asarray(CROSS) @ phi)


def exactly(phi):
    return as_tree(jnp.linalg.solve(jnp.asarray(A), jnp.asarray(B) + jnp.asarray(CROSS) @ phi))


def upper(theta):
    return jnp.sin(as_vector(theta)).sum()


EXACT = argmin(exactly, quadratic, tolerance=1e-12)


def test_the_gradient_of_a_quadratic_argmin_has_its_closed_form():
    theta = np.asarray(as_vector(exactly(PHI)))
    expected = CROSS.T @ np.linalg.solve(A, np.cos(theta))
    gradient = jax.jit(jax.grad(lambda phi: upper(EXACT(phi))))(PHI)
    close(gradient, expected, 1e-10)


def test_vmap_and_scan_give_what_a_loop_gives():
    gradient = jax.grad(lambda phi: upper(EXACT(phi)))
    many = jnp.stack([PHI, -PHI, 2 * PHI])
    expected = np.stack([jax.jit(gradient)(phi) for phi in many])
    close(jax.jit(jax.vmap(gradient))(many), expected, 1e-10)
    scanned = jax.jit(lambda many: jax.lax.scan(lambda carry, phi: (carry, gradient(phi)), 0, many)[1])(many)
    close(scanned, expected, 1e-10)


# A small network whose rows are weighted by phi: the least loss is above 0, and its curvature depends on theta.
X, Y = jnp.asarray(RNG.normal(size=(20, 2))), jnp.asarray(RNG.normal(size=20))
GROUP = jnp.asarray(RNG.integers(Q, size=20))
THETA = {"in": jnp.asarray(RNG.normal(size=(2, 3))), "out": jnp.asarray(RNG.normal(size=3))}


def network(theta):
    return jnp.tanh(X @ theta["in"]) @ theta["out"]


def misfit(phi, y):
    return (jax.nn.sigmoid(phi)[GROUP] * (y - Y) ** 2).mean()


def weighted(phi, theta):
    ridge = sum(jnp.vdot(leaf, leaf) for leaf in jax.tree.leaves(theta))
    return misfit(phi, network(theta)) + 0.02 * ridge


def descended(phi, steps=2000):
    def step(theta, _):
        return jax.tree.map(lambda leaf, slope: leaf - 0.8 * slope, theta, jax.grad(weighted, 1)(phi, theta)), None

    return jax.lax.scan(step, THETA, None, length=steps)[0]


def of_network(theta):
    return jnp.vdot(theta["out"], jnp.arange(1.0, 4.0)) + theta["in"].sum()


def test_the_implicit_gradient_is_that_of_many_unrolled_steps_and_of_finite_differences():
    implicit = jax.jit(jax.grad(lambda phi: of_network(argmin(descended, weighted, tolerance=1e-12)(phi))))(PHI)
    unrolled = jax.jit(jax.grad(lambda phi: of_network(descended(phi))))(PHI)
    assert np.abs(np.asarray(unrolled)).max() > 0.1
    # 2,000 steps end where the gradient of the loss is a rounding error, which the inverse curvature enlarges.
    slopes = jax.jit(jax.grad(weighted, 1))(PHI, jax.jit(descended)(PHI))
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes)) < 1e-10
    close(implicit, unrolled, 1e-7)
    value, h = jax.jit(lambda phi: of_network(descended(phi))), 1e-4
    differences = [(value(PHI + h * e) - value(PHI - h * e)) / (2 * h) for e in np.eye(Q)]
    # Central differences err by h^2 and by rounding over h.
    close(implicit, differences, 1e-5)


def flat_hessian(loss, theta):
    flat, unravel = ravel_pytree(theta)
    return np.asarray(jax.jit(jax.hessian(lambda v: loss(unravel(v))))(flat))


def matrix_of(product, like):
    flat, unravel = ravel_pytree(like)
    columns = jax.jit(jax.vmap(lambda e: ravel_pytree(product(unravel(e)))[0]))(jnp.eye(flat.size))
    return np.asarray(columns)


def test_products_are_those_of_the_matrices():
    loss = partial(weighted, PHI)
    close(matrix_of(hessian_product(loss, THETA), THETA), flat_hessian(loss, THETA), 1e-12)
    flat, unravel = ravel_pytree(THETA)
    jacobian = np.asarray(jax.jacobian(lambda v: network(unravel(v)))(flat))
    weight = np.asarray(jax.nn.sigmoid(PHI))[np.asarray(GROUP)]
    expected = jacobian.T @ (2 * weight[:, None] / 20 * jacobian)
    product = gauss_newton_product(network, partial(misfit, PHI), THETA)
    close(matrix_of(product, THETA), expected, 1e-12)


def test_the_mixed_derivative_is_that_of_the_dense_one():
    v = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size * 1.0)).reshape(leaf.shape), THETA)
    flat, unravel = ravel_pytree(THETA)
    mixed = jax.jacobian(lambda phi: jax.grad(lambda u: weighted(phi, unravel(u)))(flat))(PHI)
    expected = -np.asarray(mixed).T @ np.asarray(ravel_pytree(v)[0])
    close(implicit_hypergradient(weighted, PHI, THETA, v), expected, 1e-12)


def test_where_plain_conjugate_gradients_fail_on_the_hessian_gauss_newton_does_not():
    """Away from a minimum the Hessian of a network is indefinite, and the solution found with it is no solution."""
    loss = partial(misfit, PHI)
    g = jax.grad(of_network)(THETA)
    assert np.linalg.eigvalsh(flat_hessian(lambda theta: loss(network(theta)), THETA)).min() < -0.01
    by_hessian = conjugate_gradients(
        hessian_product(lambda theta: loss(network(theta)), THETA), g, damping=1e-3, tolerance=1e-8
    )
    assert by_hessian.negative
    size = np.linalg.norm(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(g)]))
    assert by_hessian.residual > 0.1 * size
    product = gauss_newton_product(network, loss, THETA)
    by_gauss_newton = conjugate_gradients(product, g, damping=1e-3, tolerance=1e-8)
    assert not by_gauss_newton.negative
    assert by_gauss_newton.residual <= 1e-8 * size
    matrix = matrix_of(product, THETA) + 1e-3 * np.eye(9)
    flat = np.asarray(ravel_pytree(g)[0])
    # The residual, times a condition of at most 1e4.
    close(ravel_pytree(by_gauss_newton.x)[0], np.linalg.solve(matrix, flat), 1e-4)
