"""How an experiment script meets its user: options, profile, errors, exit codes, and a terminal of any encoding."""

import codecs
import contextlib
import io
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import jax
import tyro

from dfcl_jax.errors import InputError, literal, refuse
from dfcl_jax.runs.compiled import keep_compiled
from dfcl_jax.runs.misread import misread
from dfcl_jax.runs.options import check_ranges

Config = TypeVar("Config")

# What a terminal without these characters is shown instead.
_PLAIN = {"±": "+-", "…": "...", "≥": ">=", "≤": "<=", "—": "-", "─": "-"}


def command(main: Callable[[Config], object], config: type[Config]) -> None:
    """Run an experiment from the command line: exit code 2 for bad input or a full disk, 130 when interrupted.

    Options that are out of their range (`options.Within`) are refused before any work; `~` at the beginning of a path
    is the user's folder. Programs that an earlier run has compiled are used again (`keep_compiled`).
    """
    if threading.current_thread() is threading.main_thread():
        # A scheduler sends SIGTERM before it takes the machine away: that is an interrupt, too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    print_anything()
    try:
        options, profile = _options(config)
        check_ranges(options)
        keep_compiled()
        with profiled(profile):
            main(options)
    except (InputError, OSError) as error:
        print(f"error: {literal(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _options(config: type[Config]) -> tuple[Config, Path | None]:
    """The options of an experiment from the command line, and those that every command has."""
    help_text = "Folder to be for a profile of the run, by JAX's own profiler."
    common = [("profile", Annotated[Path | None, tyro.conf.arg(help=help_text)], None)]
    about = {"__doc__": config.__doc__, "__module__": config.__module__}
    more = make_dataclass(config.__name__, common, bases=(config,), namespace=about, frozen=True, kw_only=True)
    given = _parsed(more)
    values = {each.name: _at_home(each.name, getattr(given, each.name)) for each in fields(more)}
    profile = values.pop("profile")
    return config(**values), profile


def _at_home(name: str, value: Any) -> Any:
    """A path with the user's folder for `~`, which the shell leaves in --out=~/run; any other value as it is."""
    try:
        return value.expanduser() if isinstance(value, Path) else value
    except RuntimeError:
        refuse(f"--{name.replace('_', '-')}", found=value, expected="a user who has a folder")


@contextmanager
def profiled(folder: Path | None) -> Iterator[None]:
    """Profile what is run within: what each compiled program and each of its operations took, and when.

    Args:
        folder: of the profile, which TensorBoard and Perfetto can show; None: no profile.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    options = jax.profiler.ProfileOptions()
    # A record of every Python call is too large for runs of more than seconds, and slows them down.
    options.python_tracer_level = 0
    with jax.profiler.trace(folder, create_perfetto_trace=True, profiler_options=options):
        yield
    print(f"Profile written to {folder}")


def _parsed(config: type[Config]) -> Config:
    """The options; what is wrong with them is an `InputError` as any, which tyro would draw in a box."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(config)
    except SystemExit as ended:
        if not ended.code:
            raise
        cause = ended.__context__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__context__
        raise cause or misread(said.getvalue(), sys.argv[1:], _names(config)) from None


def _names(config: type) -> list[str]:
    """All options of a command, as its help names them."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        tyro.cli(config, args=["--help"])
    return list(dict.fromkeys(re.findall(r"--[a-z][\w.-]*\w", said.getvalue())))


def print_anything() -> None:
    """Let the standard streams take any text, and let a run go on where nobody reads them any more.

    What their encoding lacks is written in plain characters; what is written to a pipe that was closed is dropped.
    """

    def plain(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        text = error.object[error.start : error.end]
        return "".join(_PLAIN.get(character, "?") for character in text), error.end

    codecs.register_error("plain", plain)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(errors="plain")
        if isinstance(stream.buffer, io.BufferedWriter | io.FileIO):  # a file, which it is not within a test
            stream.flush()
            raw = _Dropped(stream.fileno(), "wb", closefd=False)
            buffer = io.BufferedWriter(raw) if isinstance(stream.buffer, io.BufferedWriter) else raw
            how = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
            setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, "plain", **how))  # pyright: ignore


class _Dropped(io.FileIO):
    """A file of which it does not matter whether anybody reads it."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)
