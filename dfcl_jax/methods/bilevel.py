"""Bi-level training (Bi-DFCL): a network learns from observed people what does well on a randomised trial."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import jax
from jax import Array

from dfcl_jax import losses, scores
from dfcl_jax.data import StreamedTrial, Task
from dfcl_jax.errors import refuse
from dfcl_jax.losses import LowerLoss
from dfcl_jax.losses.decision import primal_policy_learning
from dfcl_jax.methods.decision import Begin, Decision, begin_from, objective_of, renewed, scored, validate_of
from dfcl_jax.methods.gradient import (
    build,
    divided_by,
    keys_for,
    predict_counted,
    predict_money,
    refuse_changed,
    with_units,
    within_seen,
)
from dfcl_jax.methods.method import Log
from dfcl_jax.methods.observed import observed_of
from dfcl_jax.methods.over_seeds import OverSeeds
from dfcl_jax.models import Model, NetworkConfig, Params
from dfcl_jax.train import (
    FitConfig,
    Hypergradient,
    Levels,
    Rows,
    Seeds,
    Stage,
    Streamed,
    Upper,
    Validation,
    check_hypergradients,
    fit,
    make_bilevel_optimiser,
    make_bilevel_step,
    mesh_of,
    predict,
)
from dfcl_jax.types import Outcomes, Source, Trial, Units, in_units, num_arms, stack

TRAINING = FitConfig(epochs=12, batch_size=1024, learning_rate=1e-3)


@dataclass(frozen=True)
class BiLevel(OverSeeds):
    """A target network on observed people, at gates of a bridge that learns from decisions on the trial (B6 to B10).

    The teacher is the two-stage network `upper.start`, fitted on the trial and then frozen; the target starts from its
    parameters. The bridge has the teacher's shape and ends in sigmoids. The checkpoint is the one whose policy has the
    highest value on the validation part, the start included. At use only the target runs.

    With other parts it is the paper's ladder of ablations, and some of its rivals. With an explicit hypergradient it
    lacks implicit differentiation, and with `lower=losses.gated_factual_loss` as well it lacks pseudo-labels. `gate=1`
    is distillation (KD-Label), and `gate=0` fits what was seen alone. LTD-DR has an explicit hypergradient,
    `lower=losses.doubly_robust_label_loss` and `upper=Decision(scores.raw, losses.decision.weighted_squares)`.

    Raises:
        InputError: a gate outside [0, 1]; a network or training that this method has no use for; when it learns, what
            `observed_of` refuses.
    """

    # The upper level: scores and loss on the trial, constants, the teacher, what chooses the checkpoint; and of its
    # training the batch size alone.
    upper: Decision = field(default_factory=lambda: Decision(scores.raw, primal_policy_learning))
    lower: LowerLoss = losses.pseudo_label_loss
    training: FitConfig = field(default_factory=lambda: TRAINING)  # of the target, epochs over the observed people
    hypergradient: Hypergradient = field(default_factory=Hypergradient)
    bridge_pace: float = 1.0  # learning rate of the bridge as a multiple of the target's
    # The bridge; None: of the target's shape, ending in sigmoids.
    bridge: NetworkConfig | None = None
    outputs: int = 1  # of the bridge for each treatment, of revenue and of cost, side by side
    gate: float | None = None  # one gate for all, which is not learned; None: the bridge's

    money = True

    def __post_init__(self) -> None:
        """Check what the dataclasses within cannot know."""
        if self.gate is not None and not 0 <= self.gate <= 1:
            refuse("gate", found=self.gate, expected="0 to 1, or None for gates that are learned")
        if self.outputs < 1:
            refuse("outputs of a bridge", found=self.outputs, expected="at least 1")
        if not 0 <= self.bridge_pace < float("inf"):
            refuse("bridge_pace", found=self.bridge_pace, expected="a finite number of at least 0")
        if self.upper.start.network.members > 1:
            refuse("members of a network in bi-level training", found=self.network.members, expected="1")
        refuse_changed(self.training, "bi-level training", "chunk", "compute", "through")

    @property
    def network(self) -> NetworkConfig:
        """The shape of target and teacher."""
        return self.upper.start.network

    def predict(self, params: Params, x: Array) -> Outcomes:
        """Revenue and cost of every treatment, [n, m] each; cost within the range that the trial has seen of it."""
        return within_seen(predict_money(self.network, params, x), params["costs"])

    def _fit(self, key: Array, tasks: Sequence[Task], log: Log, seeds: Seeds) -> Params:
        observed = [observed_of(task, "BiLevel") for task in tasks]
        begin = begin_from(self.upper, key, tasks, log, seeds)
        sample, counted = begin.counted.sample, begin.counted
        bridge, phi = self._bridge(jax.random.fold_in(key, 2), begin)
        levels = Levels(begin.model, bridge, self.lower, self.hypergradient, self.upper.training.batch_size)
        rows = Rows(sample, scored(self.upper, seeds, sample, begin.sample_hat))
        trial_keys = keys_for(jax.random.fold_in(key, 3), counted, seeds)
        stage = Stage(
            levels.deployed,
            objective_of(self.upper),
            validate_of(self.upper),
            self.training,
            make_step=partial(make_bilevel_step, levels),
            make_optimiser=partial(make_bilevel_optimiser, k=self.hypergradient.k, bridge_pace=self.bridge_pace),
            check=partial(check_hypergradients, self.hypergradient.k),
            renew=partial(self._renewed, begin),
        )
        fitted = fit(
            begin.key,
            {"target": begin.net, "bridge": phi},
            _observed_rows(observed, begin, self.training.devices),
            Upper(rows, begin.terms(self.upper), trial_keys),
            Validation(counted.valid.x, begin.judge),
            stage,
            seeds=seeds,
            mesh=mesh_of(self.training),
            log=log.stage("", self.training.epochs, sum(source.rows for source in observed)),
        )
        return with_units(fitted.params["target"], counted)

    def _bridge(self, key: Array, begin: Begin) -> tuple[Model | float, Params]:
        """The bridge and its first parameters: sigmoids are near 1/2."""
        if self.gate is not None:
            return self.gate, {}
        network = self.bridge or replace(self.network, link="sigmoid")
        bridge = build(network, self.outputs * num_arms(begin.counted.sample))
        keys = keys_for(key, begin.counted, begin.seeds)
        return bridge, begin.seeds.each(lambda key, x: bridge.init(key, x[:1]))(keys, begin.counted.sample.x)

    def _renewed(self, begin: Begin, params: Params, shared: Upper) -> Upper:
        return shared._replace(terms=renewed(self.upper, begin, params["target"], shared.terms))


def _observed_rows(observed: list[Source], begin: Begin, devices: int) -> Rows | Streamed:
    """Observed people in the model's units, with the teacher's predictions of them."""
    units, seeds = begin.counted.units, begin.seeds
    first = observed[0]
    if isinstance(first, StreamedTrial):

        def prepare(trial: Trial, context: tuple[Units, Params]) -> Rows:
            units, net = context
            return Rows(in_units(trial, units), predict(begin.model, net, trial.x))

        return Streamed(first, prepare, (units, begin.net))
    in_memory = [divided_by(devices, source) for source in observed if isinstance(source, Trial)]
    people = stack(in_memory) if seeds.axes else in_memory[0]
    people = seeds.each(in_units)(people, units)
    return Rows(people, predict_counted(begin.model, seeds, begin.net, people.x))
