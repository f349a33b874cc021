import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import InputError, Outcomes, Trial, losses

N, M = 20, 3
RNG = np.random.default_rng(0)


def surfaces(low: float = -1.0) -> Outcomes:
    return Outcomes(*(jnp.asarray(RNG.uniform(low, 1, size=(N, M))) for _ in "rc"))


HAT, TEACHER, GATES = surfaces(), surfaces(), surfaces(0.0)
T = RNG.permutation(np.arange(N) % M)
R, C = RNG.normal(size=(2, N))
TRIAL = Trial(*(jnp.asarray(a) for a in (np.zeros((N, 1)), T, R, C, np.full(M, np.nan))))
ONES, ZEROS = (jax.tree.map(lambda leaf, k=k: jnp.full_like(leaf, k), GATES) for k in (1.0, 0.0))
GIVEN = np.eye(M, dtype=bool)[T]


def as_printed(hat, labels):
    """B7 with labels for every treatment, of which those of the given ones are not used."""
    total = 0.0
    for y, y_hat, label in zip((R, C), hat, labels, strict=True):
        squares = np.where(GIVEN, (y[:, None] - np.asarray(y_hat)) ** 2, (np.asarray(label) - np.asarray(y_hat)) ** 2)
        total += squares.sum(axis=1).mean()
    return total


def test_pseudo_labels_lie_between_the_teacher_and_the_predictions():
    labels = losses.pseudo_labels(HAT, TEACHER, GATES)
    np.testing.assert_allclose(labels.c, GATES.c * TEACHER.c + (1 - GATES.c) * HAT.c, rtol=1e-12)
    np.testing.assert_array_equal(losses.pseudo_labels(HAT, TEACHER, ONES).r, TEACHER.r)
    np.testing.assert_array_equal(losses.pseudo_labels(HAT, TEACHER, ZEROS).r, HAT.r)


def test_the_loss_is_the_printed_one():
    expected = as_printed(HAT, losses.pseudo_labels(HAT, TEACHER, GATES))
    # Float64 sums in another order.
    np.testing.assert_allclose(losses.pseudo_label_loss(HAT, TRIAL, TEACHER, GATES), expected, rtol=1e-12)


@pytest.mark.parametrize("labels", ["moving", "frozen"])
def test_gates_of_1_are_the_loss_of_the_teacher_and_gates_of_0_that_of_self_training(labels):
    by_teacher = losses.pseudo_label_loss(HAT, TRIAL, TEACHER, ONES, labels=labels)
    np.testing.assert_allclose(by_teacher, as_printed(HAT, TEACHER), rtol=1e-12)
    by_itself = losses.pseudo_label_loss(HAT, TRIAL, TEACHER, ZEROS, labels=labels)
    np.testing.assert_allclose(by_itself, as_printed(HAT, HAT), rtol=1e-12)
    # The teacher is then not read at all.
    other = losses.pseudo_label_loss(HAT, TRIAL, HAT, ZEROS, labels=labels)
    np.testing.assert_array_equal(by_itself, other)


def test_frozen_labels_have_the_gradient_of_labels_that_are_data():
    labels = losses.pseudo_labels(HAT, TEACHER, GATES)

    def with_data(hat):
        def misfit(y, y_hat, label):
            return jnp.where(GIVEN, (y[:, None] - y_hat) ** 2, (label - y_hat) ** 2).sum(axis=1).mean()

        return misfit(TRIAL.r, hat.r, labels.r) + misfit(TRIAL.c, hat.c, labels.c)

    frozen = jax.grad(lambda hat: losses.pseudo_label_loss(hat, TRIAL, TEACHER, GATES, labels="frozen"))(HAT)
    for one, other in zip(frozen, jax.grad(with_data)(HAT), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
    moving = jax.grad(lambda hat: losses.pseudo_label_loss(hat, TRIAL, TEACHER, GATES))(HAT)
    assert np.abs(np.asarray(moving.r) - np.asarray(frozen.r)).max() > 0.01


def test_gates_weigh_what_was_seen():
    expected = sum(
        (np.asarray(w)[GIVEN] * (y - np.asarray(y_hat)[GIVEN]) ** 2).mean()
        for y, y_hat, w in zip((R, C), HAT, GATES, strict=True)
    )
    np.testing.assert_allclose(losses.gated_factual_loss(HAT, TRIAL, TEACHER, GATES), expected, rtol=1e-12)


def test_a_perfect_teacher_or_the_true_propensities_make_the_doubly_robust_loss_unbiased():
    """In either case its mean over logged treatments is the loss on all outcomes, of which one is seen of each."""
    p = np.array([0.2, 0.3, 0.5])
    gates = Outcomes(*(jnp.tile(p, (N, 1)) for _ in "rc"))
    true = surfaces()

    def mean_over_logs(teacher, gates):
        def logged(j):
            trial = TRIAL._replace(t=jnp.full(N, j), r=true.r[:, j], c=true.c[:, j])
            return losses.doubly_robust_label_loss(HAT, trial, teacher, gates)

        return sum(p[j] * logged(j) for j in range(M))

    everything = sum(((y - y_hat) ** 2).sum(axis=1).mean() for y, y_hat in zip(true, HAT, strict=True))
    for teacher, weights in ((true, GATES), (TEACHER, gates)):
        np.testing.assert_allclose(mean_over_logs(teacher, weights), everything, rtol=1e-12)
    assert abs(mean_over_logs(TEACHER, GATES) / everything - 1) > 0.01


@pytest.mark.parametrize("loss", [losses.pseudo_label_loss, losses.doubly_robust_label_loss])
def test_losses_are_convex_in_the_predictions(loss):
    """So that the Gauss-Newton product is positive semi-definite."""

    def of_flat(flat):
        return loss(Outcomes(*flat.reshape(2, N, M)), TRIAL, TEACHER, GATES)

    hessian = jax.jit(jax.hessian(of_flat))(jnp.concatenate([HAT.r.ravel(), HAT.c.ravel()]))
    assert np.linalg.eigvalsh(hessian).min() > 0


def test_a_kind_of_labels_that_is_none_is_named():
    with pytest.raises(InputError, match="labels: found 'still', expected 'moving' or 'frozen'"):
        losses.pseudo_label_loss(HAT, TRIAL, TEACHER, GATES, labels="still")  # type: ignore[arg-type]
