import jax.numpy as jnp
import numpy as np
import pytest

from dfcl_jax import Trial
from dfcl_jax.methods.observed import pooled


def people(*, weight=None, cluster=None, p=(0.5, 0.5)) -> Trial:
    zeros = jnp.zeros(3)
    return Trial(jnp.zeros((3, 1)), jnp.array([0, 1, 1]), zeros, zeros, jnp.array(p), weight, cluster)


def test_people_of_two_parts_keep_the_propensities_of_their_own():
    both = pooled(people(), people(p=(0.2, 0.8)))
    np.testing.assert_array_equal(both.p, [[0.5, 0.5]] * 3 + [[0.2, 0.8]] * 3)
    assert both.weight is None
    assert both.cluster is None


@pytest.mark.parametrize("first", [True, False])
def test_rows_without_weights_or_clusters_stand_for_one_person_who_belongs_to_nobody(first):
    some, others = people(weight=jnp.array([2.0, 3.0, 1.0]), cluster=jnp.array([7, 7, 8])), people()
    both = pooled(some, others) if first else pooled(others, some)
    rows = slice(3, 6) if first else slice(0, 3)
    assert both.weight is not None
    assert both.cluster is not None
    np.testing.assert_array_equal(both.weight[rows], 1)
    clusters = np.asarray(both.cluster)
    assert len(set(clusters[rows])) == 3
    assert set(clusters[rows]).isdisjoint({7, 8})
