"""Trains, evaluates, predicts: `python launch.py --config configs/melody_mt.py:sample --workdir runs/sample`.

`python launch.py --help` lists the verbs; the program `jaxepi`, which is installed with the package, has the same.
"""

import sys

from jaxepi.verbs.command import main

if __name__ == "__main__":
    sys.exit(main(prog="launch.py"))
