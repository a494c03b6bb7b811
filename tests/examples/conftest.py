"""What the example tests share: examples are programs, so they are loaded by their path or run as processes."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def load() -> Callable[[str], ModuleType]:
    """Load one file below examples/ as a module that nobody else sees."""

    def load_file(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location("example_" + Path(path).stem, EXAMPLES / path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_file


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., str]:
    """Run one example as users do, from some other folder, and return what it printed."""

    def run_program(name: str, *arguments: str) -> str:
        # The source folder goes in front, so that the tests are about this tree, installed or not.
        path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
        program = subprocess.run(
            [sys.executable, EXAMPLES / name / "manager.py", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert program.returncode == 0, program.stderr
        assert "Traceback" not in program.stderr
        return program.stdout

    return run_program
