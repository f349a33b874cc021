"""Methods that need a package beside this one, which an extra of this project brings."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import NamedTuple

from dfcl_jax.errors import refuse
from dfcl_jax.methods.method import Method


class Extra(NamedTuple):
    """What a method needs: its class attribute `needs`."""

    package: str  # as it is imported
    name: str  # as it is installed
    extra: str

    def require(self, what: str) -> None:
        """Refuse `what` if the package is not installed.

        Raises:
            InputError: it is not; the extra that brings it is named.
        """
        if find_spec(self.package) is None:
            refuse(what, found=f"no package {self.name}", expected=f'it: pip install "dfcl-jax[{self.extra}]"')


def installed(methods: Mapping[str, Method]) -> tuple[dict[str, Method], list[str]]:
    """The methods whose packages are installed, and a sentence for each other."""
    needs = {name: getattr(method, "needs", None) for name, method in methods.items()}
    missing = {name: of.extra for name, of in needs.items() if of is not None and find_spec(of.package) is None}
    sentences = [f"{name} is left out: it needs the extra {extra}" for name, extra in missing.items()]
    return {name: method for name, method in methods.items() if name not in missing}, sentences
