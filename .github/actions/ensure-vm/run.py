# ruff: noqa: INP001 - a script, in no package
"""Run a module of this checkout, with the folders to find modules in as the first argument.

Under `python -I`: a `ci` folder in the consumer's repository, or its PYTHONPATH, must not get in between.
"""

import runpy
import sys

folders, module = sys.argv[1:3]
sys.path[:0] = folders.split(":")
sys.argv[:3] = [module]
runpy.run_module(module, run_name="__main__", alter_sys=True)
