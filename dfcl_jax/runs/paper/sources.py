"""Figures that were published, with where they are printed."""

from dfcl_jax.report.published import Published

DFCL, DHCL, LOG = "DFCL", "DHCL", "log of DFCL's code"
LIFT = "DFCL, from IFD's +3.94%"
OTHER = "Bi-DFCL, Marketing II"

CRITEO_AUCC = {
    "TSM-SL": Published(0.7561, None, LIFT),
    "DRP": Published(0.7739, 0.0002, DHCL),
    "Direct Rank": Published(0.7562, 0.0131, DHCL),
    "DFCL-PL": Published(0.7769, None, LOG),
    "DFCL-MER": Published(0.7727, None, LOG),
    "DFCL-IFD": Published(0.7859, 0.0021, DFCL),
}
MARKETING_LIFT = {
    "TSM-SL": Published(0.0, None, DFCL),
    "TSM-CF": Published(-3.20, None, OTHER),
    "DPM": Published(0.59, None, OTHER),
    "DFCL-PL": Published(1.98, None, DFCL),
    "DFCL-MER": Published(2.06, None, DFCL),
    "DFCL-IFD": Published(2.85, None, DFCL),
}
ONLINE_LIFT = {
    "TSM-SL": Published(0.0, None, DFCL),
    "DPM": Published(1.32, None, DFCL),
    "DFCL-IFD": Published(2.17, None, DFCL),
}
