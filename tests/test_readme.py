import re
from importlib import import_module
from pathlib import Path

import jax
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=["own loss"])
def test_code_examples_run_as_they_stand(block, capsys):
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        exec(compile(block, "README.md", "exec"), {})
    assert re.search(r"\d", capsys.readouterr().out)


def test_every_function_and_test_of_the_table_exists():
    rows = [line.split("|")[1:-1] for line in README.splitlines() if re.match(r"\| ([DB]\d|section|beyond)", line)]
    assert len(rows) >= 13
    for _, _, functions, tests in rows:
        for name in re.findall(r"`([a-z_]+\.[a-z_]+)[`(]", functions):
            if not name.startswith("experiments"):
                module, function = name.split(".")
                assert hasattr(import_module(f"dfcl_jax.{module}"), function), name
        for path in re.findall(r"`(tests/[a-z_/]+\.py)`", tests):
            assert (Path(__file__).parents[1] / path).is_file(), path
