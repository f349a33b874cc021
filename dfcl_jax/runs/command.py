"""How an experiment script meets its user: options, errors, exit codes, and a terminal of any encoding."""

import codecs
import contextlib
import io
import signal
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import tyro

from dfcl_jax.errors import InputError
from dfcl_jax.runs.options import check_ranges

Config = TypeVar("Config")

# What a terminal without these characters is shown instead.
_PLAIN = {"±": "+-", "…": "...", "≥": ">=", "≤": "<=", "—": "-", "─": "-"}


def command(main: Callable[[Config], object], config: type[Config]) -> None:
    """Run an experiment from the command line: exit code 2 for bad input or a full disk, 130 when interrupted.

    Options that are out of their range (`options.Within`) are refused before any work.
    """
    if threading.current_thread() is threading.main_thread():
        # A scheduler sends SIGTERM before it takes the machine away: that is an interrupt, too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    print_anything()
    try:
        options = _parsed(config)
        check_ranges(options)
        main(options)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _parsed(config: type[Config]) -> Config:
    """The options; those that contradict each other are an `InputError` as any, which tyro would draw in a box."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(config)
    except SystemExit as ended:
        cause = ended.__context__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__context__
        if cause is not None:
            raise cause from None
        print(said.getvalue(), end="", file=sys.stderr)
        raise


def print_anything() -> None:
    """Let the standard streams take any text: what their encoding lacks is written in plain characters."""

    def plain(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        text = error.object[error.start : error.end]
        return "".join(_PLAIN.get(character, "?") for character in text), error.end

    codecs.register_error("plain", plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")
