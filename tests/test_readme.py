import re
from importlib import import_module
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MAP = (ROOT / "dfcl_jax" / "README.md").read_text()


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=["own loss"])
def test_code_examples_run_as_they_stand(block, capsys):
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        exec(compile(block, "README.md", "exec"), {})
    assert re.search(r"\d", capsys.readouterr().out)


ROWS = [
    [cell.strip() for cell in line.split("|")[1:-1]][-2:]
    for text in (README, MAP)
    for line in text.splitlines()
    if line.startswith("|") and "`tests/" in line
]


@pytest.mark.parametrize(("functions", "tests"), ROWS, ids=[functions[:40] for functions, _ in ROWS])
def test_functions_and_tests_of_the_tables_exist(functions, tests):
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)\.([A-Za-z_]+)[`(]", functions)
    for module, name in named:
        if module != "experiments":
            assert hasattr(import_module(f"dfcl_jax.{module}"), name), f"{module}.{name}"
    for path in re.findall(r"`(tests/[a-z_/]+\.py)`", tests):
        assert (ROOT / path).is_file(), path


def test_the_table_of_the_paper_has_all_its_equations():
    first = " ".join(line.split("|")[1] for line in README.splitlines() if line.startswith("| D"))
    assert {f"D{k}" for k in range(1, 11)} <= set(re.findall(r"D\d+", first))
