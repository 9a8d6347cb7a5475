"""A program that stands in no package, as a module."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def load(program: Path) -> ModuleType:
    """Return what a file defines, under the file's name: anew each time, so that a test may change it."""
    spec = spec_from_file_location(program.stem, program)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[program.stem] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
