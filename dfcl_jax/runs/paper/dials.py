"""When does decision focus pay? A map over the dials of a Criteo-like population."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import pandas as pd

from dfcl_jax.data import simulate
from dfcl_jax.data.simulate.criteo_like import CONVERSION_RATE, VISIT_RATE
from dfcl_jax.methods import TWO_STAGE, Method, TwoStage, decisions
from dfcl_jax.methods.contenders import every_contender
from dfcl_jax.models import NetworkConfig
from dfcl_jax.runs.paper.config import PaperConfig, Parts
from dfcl_jax.runs.paper.duration import expected_seconds, told
from dfcl_jax.runs.paper.field import as_published_on_criteo
from dfcl_jax.runs.run_folder import Run
from dfcl_jax.runs.simulated import draw_splits
from dfcl_jax.study import ORACLE, Judge, areas, compare
from dfcl_jax.train import FitConfig

PARTS: Parts = (100_000, 25_000, 100_000)
# Small and smooth, so that many people can be afforded: what is rare here is conversions, not capacity.
START = TwoStage(NetworkConfig(hidden=(32, 16), link="sigmoid"), "cross_entropy", FitConfig(20, 2000, 3e-3))
# Large steps, few of them, the checkpoint by validation AUCC: as published, where it jumps from epoch to epoch.
UNSETTLED = replace(START, training=FitConfig(20, 20_000, 1e-2, schedule="constant"), select="aucc")

RATES = {"visit_rate": VISIT_RATE, "conversion_rate": CONVERSION_RATE}
# Dials by setting; each differs from the first in one.
SETTINGS: Mapping[str, dict[str, Any]] = {
    "as the file": {},
    "effects x 0.5": {"effect": 0.5},
    "effects x 4": {"effect": 4.0},
    "signal x 0.5": {"signal": 0.5},
    "signal x 1.5": {"signal": 1.5},
    "no repeated values": {"published": False},
    "conversions x 4": {"conversion_rate": 4 * CONVERSION_RATE},
    "unsettled start": {"start": UNSETTLED},
}


def methods_of(config: PaperConfig, start: TwoStage) -> dict[str, Method]:
    """The published losses at their published constants, no gradient of IFD on cost, centred ones, and `PL-root`.

    Beside them five of two-stage learning, which say what averaging alone gains.
    """
    usual, contenders = decisions(start, config.stage), every_contender(start, config.stage)
    ifd = usual["DFCL-IFD"]
    return {
        TWO_STAGE: start,
        "DFCL-PL": as_published_on_criteo(usual["DFCL-PL"]),
        "DFCL-IFD": as_published_on_criteo(replace(ifd, training=replace(ifd.training, through="revenue"))),
        "PL-centred": usual["PL-centred"],
        **{name: contenders[name] for name in ("PL-root", "TSM-SL x5")},
    }


def by_dial(run: Run, config: PaperConfig) -> dict[str, pd.DataFrame]:
    """AUCC over two-stage learning by setting of the dials, in hundredths; for each method, by seed."""
    parts = config.size(PARTS)
    panel, tables = {}, []
    for label, setting in config.chosen_settings(SETTINGS).items():
        start = config.brief(setting.get("start", START))
        methods = config.chosen_methods(methods_of(config, start))
        dials = {"published": True, **RATES} | {name: value for name, value in setting.items() if name != "start"}
        draw = jax.jit(partial(simulate.criteo_like, **dials), static_argnums=1)
        run.say(label)
        splits = draw_splits(run, config, draw, parts, name=f"budgets {label}")
        with told(run, expected_seconds(methods, parts[0], config.seeds)):
            judge = Judge(loss="cross_entropy")
            study = compare(
                jax.random.key(0), splits, methods, judge=judge, cells=run.cells(population=dials), skip_diverged=True
            )
        aucc = areas(study)
        tables.append(aucc.assign(setting=label))
        panel[label] = 100 * aucc.sub(aucc[TWO_STAGE], axis=0).drop(columns=[TWO_STAGE, ORACLE])
    run.write_table("aucc", pd.concat(tables))
    return panel
