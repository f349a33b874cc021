"""The paper's figures: lifts of methods at settings of one thing, each with an interval over seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import pandas as pd

from dfcl_jax.data import simulate
from dfcl_jax.errors import refuse
from dfcl_jax.losses import constants
from dfcl_jax.losses import decision as losses
from dfcl_jax.methods import CHEAPEST, TWO_STAGE, Decision, Method, TwoStage
from dfcl_jax.report.published import Published, beside_published, draw_settings, shown
from dfcl_jax.report.summary import lifts, lifts_by_budget
from dfcl_jax.report.terminal import markdown_table, number
from dfcl_jax.runs.paper.config import FigureName, PaperConfig, Parts
from dfcl_jax.runs.paper.dials import PARTS as DIAL_PARTS
from dfcl_jax.runs.paper.dials import by_dial
from dfcl_jax.runs.paper.duration import expected_seconds, told
from dfcl_jax.runs.paper.field import field_of, from_pl_to_ifd
from dfcl_jax.runs.paper.sources import MARKETING_LIFT
from dfcl_jax.runs.paper.tables import TABLES
from dfcl_jax.runs.run_folder import Run, open_run
from dfcl_jax.runs.simulated import DRAWS, Draw, draw_splits
from dfcl_jax.study import Setting, Study, areas, compare, grid, sweep
from dfcl_jax.study.sweep import shown as as_text

# setting -> a column for each method and a row for each seed
Panel = dict[str, pd.DataFrame]

DFCL = ("DFCL-PL", "DFCL-MER", "DFCL-IFD")
PARTS, FULL = (20_000, 5_000, 20_000), (1_200_000, 200_000, 1_400_000)
OVER = f"% over {TWO_STAGE}"


class Figure(NamedTuple):
    """A figure of the paper, or one beside them."""

    title: str
    axis: str  # what the settings are of
    caption: str
    measure: Callable[[Run, PaperConfig], Panel]
    parts: Parts = PARTS
    unit: str = OVER
    digits: int = 2
    published: Mapping[tuple[str, str], Published] = {}  # by setting and method


def run_figure(name: FigureName, config: PaperConfig) -> None:
    """Train what is missing, and write the figure with its table as CSV and Markdown."""
    figure = FIGURES[name]
    parts = config.size(figure.parts, FULL)
    with open_run("paper", config, figure=name, parts=parts, quick=config.quick) as run:
        panel = figure.measure(run, config)
        measured = {(setting, method): of[method] for setting, of in panel.items() for method in of}
        table = beside_published(pd.DataFrame(measured), figure.published)
        seeds = len(next(iter(panel.values())))
        caption = (
            f"{figure.title}. {figure.caption} Simulated trials of {parts[0]:,} people to train on, {parts[1]:,} to "
            f"validate and {parts[2]:,} to judge by, unless the setting says otherwise; published figures are of other "
            f"data, context and no target. {figure.unit}, settled by the truth; ±: 95% t intervals over {seeds} seeds."
        )
        run.write_table("figure", table)
        text = shown(table, digits=figure.digits, signed=True).rename(columns={"setting": figure.axis})
        run.write_text("figure.md", f"{caption}\n\n{markdown_table(list(text.columns), text.to_numpy().tolist())}")
        draw_settings(table, run.path / "figure.png", title=figure.title, x=figure.axis, y=figure.unit)
        run.show(text, caption)


def _methods(config: PaperConfig, start: TwoStage, names: Sequence[str]) -> dict[str, Method]:
    """The methods asked for, those of these names if none is; two-stage learning first."""
    known, _ = field_of(start, config.stage, quick=config.quick)
    return replace(config, methods=config.methods or tuple(config.some(names, 1))).chosen_methods(known)


def _compare(
    run: Run, config: PaperConfig, methods: dict[str, Method], draw: Draw, parts: Parts, **population: object
) -> Study:
    """A study on one population, which `population` tells from others of the run."""
    label = " ".join(["budgets", *(f"{name} {value}" for name, value in population.items())])
    splits = draw_splits(run, config, draw, parts, name=label)
    with told(run, expected_seconds(methods, parts[0], config.seeds)):
        cells = run.cells(**population)
        return compare(jax.random.key(0), splits, methods, cells=cells, skip_diverged=True)


def _lifts(study: Study, names: Sequence[str]) -> pd.DataFrame:
    return lifts(study)[[name for name in names if name in study.cells and name not in (TWO_STAGE, CHEAPEST)]]


def by_budget(run: Run, config: PaperConfig) -> Panel:
    """Lift at each of six budgets, and their mean."""
    parts = config.size(PARTS, FULL)
    methods = _methods(config, config.brief(TABLES[2].two_stage), (*DFCL, "DPM", "CN", "CN + DFCL-PL"))
    study = _compare(run, config, methods, TABLES[2].draw(config, parts), parts)
    panel = {number(budget, 3): of for budget, of in lifts_by_budget(study).items()}
    return panel | {"mean": _lifts(study, list(study.cells))}


def swept(run: Run, config: PaperConfig, settings: Sequence[Setting], names: Sequence[str], fixed: bool) -> Panel:
    """Lift of each decision method at each setting of its numbers, all settings from one program.

    Args:
        run: where cells are kept.
        config: the options.
        settings: of `study.sweep`.
        names: of the methods.
        fixed: whether multipliers are given, not those of the budgets.
    """
    parts, start = config.size(PARTS, FULL), config.brief(TABLES[2].two_stage)
    splits = draw_splits(run, config, TABLES[2].draw(config, parts), parts)
    methods = _methods(config, start, names)
    decisions = {name: method for name, method in methods.items() if isinstance(method, Decision)}
    if not decisions:
        refuse("methods", found=" ".join(methods), expected=f"decision methods, such as {', '.join(DFCL)}")
    columns: dict[str, dict[str, pd.Series]] = {}
    work = expected_seconds(methods, parts[0] * len(settings), config.seeds)
    with told(run, work):
        for name, method in decisions.items():
            given = replace(method, constants=constants.fitted_at, tracked=False) if fixed else method
            done = sweep(jax.random.key(0), splits, given, config.some(settings), name=name, cells=run.cells())
            lift = lifts(done.study)
            for member, setting in done.settings.items():
                label = ", ".join(as_text(value) for value in setting.values())
                columns.setdefault(label, {})[name] = lift[member]
    return {label: pd.DataFrame(of) for label, of in columns.items()}


def windows(run: Run, config: PaperConfig) -> Panel:
    """IFD at windows in spreads of the scores, and with its other two ways to limit steps."""
    parts, start = config.size(PARTS, FULL), config.brief(TABLES[2].two_stage)
    ifd = field_of(start, config.stage)[0]["DFCL-IFD"]
    panel = swept(run, config, grid(window_in_spreads=(0.05, 0.25, 1.0, 4.0, 100.0)), ("DFCL-IFD",), fixed=False)
    others = {
        clip: replace(ifd, loss=partial(losses.finite_difference, clip=clip))  # pyright: ignore[reportArgumentType]
        for clip in config.some(("none", "max"), 1)
    }
    study = _compare(run, config, {TWO_STAGE: start, **others}, TABLES[2].draw(config, parts), parts)
    lift = lifts(study)
    kept = [clip for clip in others if clip in lift]
    return panel | {f"clip {clip}": lift[[clip]].rename(columns={clip: "DFCL-IFD"}) for clip in kept}


def varied(run: Run, config: PaperConfig, settings: Mapping[str, dict], *, what: str) -> Panel:
    """Lift of methods where the trial or the network is another: `parts`, `hidden` or dials of the population."""
    panel = {}
    for label, setting in config.chosen_settings(settings).items():
        start = config.brief(TABLES[2].two_stage)
        if "hidden" in setting:
            start = replace(start, network=replace(start.network, hidden=setting["hidden"]))
        dials = {name: value for name, value in setting.items() if name not in ("hidden", "parts")}
        draw = jax.jit(partial(simulate.marketing, **dials), static_argnums=1) if dials else DRAWS["marketing"]
        parts = config.size(setting.get("parts", PARTS))
        methods = _methods(config, start, ("DFCL-PL", "DFCL-IFD", "PL-centred", "PL-own-units"))
        run.say(f"{what}: {label}")
        study = _compare(run, config, methods, draw, parts, **dials)
        panel[label] = _lifts(study, [name for name in methods if name != CHEAPEST])
    return panel


def centring(run: Run, config: PaperConfig) -> Panel:
    """AUCC over two-stage learning of what lies between PL and IFD, in hundredths."""
    table = TABLES[1]
    parts, start = config.size(table.parts, table.full), config.brief(table.two_stage)
    ladder = from_pl_to_ifd(start, config.stage)
    steps: dict[str, Method] = {
        TWO_STAGE: start,
        **{name: ladder[name] for name in config.some(list(ladder)[::-1])[::-1]},
    }
    study = _compare(run, config, steps, table.draw(config, parts), parts)
    aucc = areas(study)
    over = 100 * aucc.sub(aucc[TWO_STAGE], axis=0)
    kept = [name for name in steps if name in over and name != TWO_STAGE]
    return {name: over[[name]].rename(columns={name: "decision loss"}) for name in kept}


ALPHAS = (0.0, 0.1, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
MULTIPLIERS = ((0.1,), (0.1, 0.5), (0.1, 0.5, 1.0))

FIGURES: dict[FigureName, Figure] = {
    "eom": Figure(
        "Value at each budget",
        "budget",
        "The paper gives means over six budgets alone.",
        by_budget,
        published={("mean", name): figure for name, figure in MARKETING_LIFT.items()},
    ),
    "alpha": Figure(
        "Weight of the prediction loss",
        "alpha",
        "The paper prints no figures, and finds that a large weight falls back to two-stage learning.",
        partial(swept, settings=grid(alpha=ALPHAS), names=DFCL, fixed=False),
    ),
    "multipliers": Figure(
        "Sets of multipliers",
        "multipliers",
        "In units of the trial's own return; the paper prints no figures.",
        partial(swept, settings=grid(lams=MULTIPLIERS), names=DFCL, fixed=True),
    ),
    "temperature": Figure(
        "Temperature of the softened decision",
        "temperature in spreads",
        "In spreads of the two-stage model's scores; the paper prints no figures.",
        partial(
            swept,
            settings=grid(temperature_in_spreads=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0)),
            names=("DFCL-MER", "PL-centred"),
            fixed=False,
        ),
    ),
    "window": Figure(
        "Clip and window of IFD",
        "window in spreads",
        "In spreads of the two-stage model's scores; clip none: every step counts as it is; clip max: as the longest.",
        windows,
    ),
    "size": Figure(
        "Sample size",
        "training people",
        "The validation part is a quarter of the training part.",
        partial(
            varied,
            what="training people",
            settings={f"{n:,}": {"parts": (n, n // 4, PARTS[2])} for n in (5_000, 20_000, 80_000)},
        ),
    ),
    "rarity": Figure(
        "Rarity of orders",
        "share who order",
        "Fewer people order at all; the mean stays.",
        partial(varied, what="share who order", settings={f"{s:g}": {"ordering": s} for s in (1.0, 0.3, 0.1)}),
    ),
    "capacity": Figure(
        "Capacity of the network",
        "hidden layers",
        "Two-stage learning has the same network.",
        partial(
            varied,
            what="hidden layers",
            settings={"-".join(map(str, h)): {"hidden": h} for h in ((8,), (32, 16), (64, 32, 32), (256, 128))},
        ),
    ),
    "centring": Figure(
        "From PL to IFD",
        "loss",
        "Criteo-like trials and constants: weights 1/p, the policy's own value taken off, no gradient on cost, and "
        "the hard decision, one after the other.",
        centring,
        parts=TABLES[1].parts,
        unit=f"AUCC over {TWO_STAGE}, in hundredths",
    ),
    "dials": Figure(
        "When decision focus pays on Criteo-like trials",
        "dial",
        "Each setting differs from the first, which has the features and rates of the published file, in one dial.",
        by_dial,
        parts=DIAL_PARTS,
        unit=f"AUCC over {TWO_STAGE}, in hundredths",
    ),
}
