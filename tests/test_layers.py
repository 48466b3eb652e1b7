"""Every import points downwards: the house has no circle."""

import ast
from pathlib import Path

import pytest

import hf_attn_faith

PACKAGE = Path(hf_attn_faith.__file__).parent
# From top to bottom; a line is a floor, on which parts know nothing of each other.
FLOORS = (
    ("cli",),
    ("report", "hub"),
    ("run",),
    ("analyses",),
    ("guides", "training"),
    ("prediction", "attention"),
    ("recipes", "figures"),
    ("data", "models"),
    ("arguments",),
    ("specs", "metrics", "process"),
    ("errors", "divergences"),
)
FLOOR = {part: -number for number, parts in enumerate(FLOORS) for part in parts}


def imports(path: Path):
    """The parts of the package that a file imports, functions' own imports too."""
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = [*base, *(node.module or "").split(".")]
            if module[0] == PACKAGE.name:
                # `from .. import divergences` names its parts behind the import.
                yield from [module[1]] if len(module) > 1 and module[1] else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [a.name.split(".")[1] for a in node.names if a.name.startswith(f"{PACKAGE.name}.")]


@pytest.mark.parametrize("part", list(FLOOR))
def test_imports_point_down(part):
    place = PACKAGE / part
    for path in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
        for name in imports(path):
            if name not in (part, "__version__"):
                assert FLOOR[name] < FLOOR[part], f"{path.relative_to(PACKAGE)} imports {name}"


def test_every_part_has_its_floor():
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - {"__init__", "registration"} == set(FLOOR)
