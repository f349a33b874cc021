"""Published trials: which column is what, and what has to be derived."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from dfcl_jax.data.tables import Columns, Table, finite, read_frame, trial_table
from dfcl_jax.errors import refuse

# CRITEO-UPLIFT v2.1 (Diemert et al. 2018): conversions bought with visits. `exposure` happens after treatment.
CRITEO = Columns(
    treatment="treatment",
    revenue="conversion",
    cost="visit",
    features=tuple(f"f{k}" for k in range(12)),
    arms=("0", "1"),
)

# MT-LIFT (Meituan, 5,541,842 people): conversions bought with clicks by five coupons, CRITEO's twin of several arms.
# The values of the coupons are not published, so that the plan's cost is a click, not money.
MT_LIFT = Columns(
    treatment="treatment",
    revenue="conversion",
    cost="click",
    features=tuple(f"f{k}" for k in range(99)),
    arms=("0", "1", "2", "3", "4"),
)

# MineThatData e-mail challenge (Hillstrom 2008), three equal arms.
HILLSTROM = Columns(
    treatment="segment",
    revenue="spend",
    cost="visit",
    features=("recency", "history_segment", "history", "mens", "womens", "zip_code", "newbie", "channel"),
    propensities=(1 / 3, 1 / 3, 1 / 3),
    arms=("No E-Mail", "Mens E-Mail", "Womens E-Mail"),
)

# The same trial where e-mails buy visits: what an e-mail costs is known by design.
HILLSTROM_VISITS = replace(HILLSTROM, revenue="visit", cost="emails", costs=(0.0, 1.0, 1.0))

# Matching gifts (Karlan and List 2007): control 1/3, each match ratio 2/9.
KARLAN_LIST = Columns(
    treatment="ratio",
    revenue="out_amountgive",
    cost="matched_amount",
    propensities=(1 / 3, 2 / 9, 2 / 9, 2 / 9),
    arms=("0", "1", "2", "3"),
)

# Cash offers for collecting a test result (Thornton 2008): the offer was drawn person by person, in villages.
THORNTON = Columns(
    treatment="offer",
    revenue="got",
    cost="paid",
    features=("distvct", "age", "hiv2004"),
    arms=("none", "up to $1", "up to $2", "more"),
    cluster="villnum",
)


def criteo(source: str | Path | pd.DataFrame) -> Table:
    """CRITEO-UPLIFT v2.1: revenue `conversion`, cost `visit`, propensities the arm shares."""
    return trial_table(source, CRITEO)


def mt_lift(source: str | Path | pd.DataFrame) -> Table:
    """MT-LIFT: revenue `conversion`, cost `click`, propensities the arm shares; train.csv or test.csv as released."""
    return trial_table(source, MT_LIFT)


def hillstrom(source: str | Path | pd.DataFrame, *, email_price: float | None = None) -> Table:
    """Hillstrom's e-mail trial: revenue `spend`; cost `visit`, or `email_price` for everybody who was sent one."""
    if email_price is None:
        return trial_table(source, HILLSTROM)
    if not 0 <= email_price < float("inf"):
        refuse("email_price", found=email_price, expected="a finite number of at least 0")
    frame = read_frame(source, [HILLSTROM.treatment])
    sent = frame[HILLSTROM.treatment] != HILLSTROM.arms[0]
    return trial_table(frame.assign(visit=email_price * sent), HILLSTROM)


def hillstrom_visits(source: str | Path | pd.DataFrame) -> Table:
    """Hillstrom's e-mail trial: revenue `visit`, which one person in seven did; cost the number of e-mails, 0 or 1."""
    frame = read_frame(source, [HILLSTROM.treatment])
    sent = frame[HILLSTROM.treatment] != HILLSTROM.arms[0]
    return trial_table(frame.assign(emails=sent.astype(float)), HILLSTROM_VISITS)


def karlan_list(source: str | Path | pd.DataFrame) -> Table:
    """Karlan and List's matching gifts: revenue the gift, cost what the matching donor pays, ratio times the gift.

    -999 marks a missing covariate. The two people whose gift is missing are left out, and so are the columns that are
    outcomes in disguise: `stateresponse...` is the share of givers by state in this very trial.
    """
    frame = read_frame(source, ["treatment", "treat_ratio2", "treat_ratio3", "out_amountgive"])
    frame = frame[frame["out_amountgive"].notna()].reset_index(drop=True)
    gift = finite(frame["out_amountgive"])
    treated, twice, thrice = (finite(frame[column]) for column in ("treatment", "treat_ratio2", "treat_ratio3"))
    ratio = treated + twice + 2 * thrice
    after_treatment = ("out_", "treat", "stateresponse")
    # Columns `..._missing` go too: gaps get an indicator of their own when features are encoded.
    kept = [c for c in frame.columns if not c.startswith(after_treatment) and not c.endswith("_missing")]
    covariates = frame[kept].replace(-999, np.nan)
    return trial_table(covariates.assign(ratio=ratio, out_amountgive=gift, matched_amount=ratio * gift), KARLAN_LIST)


def thornton(source: str | Path | pd.DataFrame) -> Table:
    """Thornton's cash offers: revenue whether the result was collected, cost the offer, paid to those who did.

    Offers of 0 to 2.84 dollars are binned: none, up to 1, up to 2 and more. People whose offer or outcome is missing
    are left out. Villages are clusters.
    """
    frame = read_frame(source, ["tinc", "got", "villnum"])
    frame = frame[frame["tinc"].notna() & frame["got"].notna() & frame["villnum"].notna()].reset_index(drop=True)
    offer = finite(frame["tinc"])
    arm = np.asarray(THORNTON.arms)[np.searchsorted([0.0, 1.0, 2.0], offer)]
    return trial_table(frame.assign(offer=arm, paid=offer * finite(frame["got"])), THORNTON)
