"""Options that cannot be read: one line that says which, and which was perhaps meant."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

from dfcl_jax.errors import InputError

# What elsewhere is called otherwise, or is no option here.
_BY_ITSELF = "nothing in its place: the same command with the same --out goes on by itself, or begins anew"
_ALSO = {
    "--resume": _BY_ITSELF,
    "--restart": _BY_ITSELF,
    "--overwrite": "a new --out: nothing that is there is overwritten",
    "--force": "a new --out: nothing that is there is overwritten",
    "--run": "--policy RUN_FOLDER/policies/METHOD (plan) or --out (all others)",
    "--method": "--policy RUN_FOLDER/policies/METHOD (plan) or --methods (all others)",
    "--model": "--policy RUN_FOLDER/policies/METHOD (plan) or --model.revenue and --model.cost (evaluate)",
    "--study.prediction": "--two-stage.loss",
    "--outcome": "--revenue",
    "--target": "--revenue",
    "--input": "--data (trial, evaluate), --people or --predictions (plan)",
    "--output": "--out",
    "--delimiter": "--separator",
    "--sep": "--separator",
    "--bootstrap": "--replicates",
}


def misread(said: str, given: Sequence[str], known: Sequence[str]) -> InputError:
    """The error of options that the parser refused.

    Args:
        said: what the parser says of them, which it draws in a box of several lines.
        given: the words of the command line.
        known: all options.
    """
    names = [word.partition("=")[0].replace("_", "-") for word in given if re.match("--[a-zA-Z]", word)]
    unknown = next((name for name in names if name not in known), None)
    if unknown is None:
        return InputError(_sentence(said))
    return InputError(f"{unknown}: found no such option, expected {_meant(unknown, known)}")


def _meant(name: str, known: Sequence[str]) -> str:
    same = [option for option in known if option.endswith(f".{name[2:]}")]
    if name in _ALSO:
        return _ALSO[name]
    return " or ".join(same or get_close_matches(name, known, n=2, cutoff=0.7)) or "one of those that --help names"


def _sentence(box: str) -> str:
    """The words of the box without its lines, its title and what it says of help."""
    parts = [[]]
    for line in box.splitlines():
        text = line.strip("│| ")
        if re.match(r"[─╭╰]|\+-|---", text):
            parts.append([])
        else:
            parts[-1].append(text)
    kept = [" ".join(part).split() for part in parts if part and not re.search("help ?text", part[0])]
    return " ".join(word for part in kept for word in part if word != "(required)") or "options that cannot be read"
