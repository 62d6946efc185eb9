"""Runs the checks of the playground: `run` prepares what this needs."""

import argparse
import sys
import unittest
from pathlib import Path

import looking
import server_away
import writing
from case import PageCase
from screenshots import take_screenshots


def main():
    arguments = argparse.ArgumentParser(description="The playground of `chargru serve` in a browser.")
    arguments.add_argument("--screenshots", type=Path, metavar="DIR", help="also save pictures of each tab here")
    arguments.add_argument("--slow", action="store_true", help="with a slow network and a slow processor")
    arguments.add_argument("names", nargs="*", metavar="CLASS[.TEST]", help="checks to run [default: all]")
    given = arguments.parse_args()

    modules = (writing, looking, server_away)
    suite = unittest.TestSuite()
    loader = unittest.defaultTestLoader
    for module in modules:
        names = [name for name in given.names if hasattr(module, name.split(".")[0])]
        if names:
            suite.addTests(loader.loadTestsFromNames(names, module))
        elif not given.names:
            suite.addTests(loader.loadTestsFromModule(module))
    if not suite.countTestCases():
        sys.exit(f"no check is named {' '.join(given.names)}")

    PageCase.prepare(given.slow)
    try:
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        if given.screenshots:
            take_screenshots(PageCase.page, given.screenshots)
    finally:
        PageCase.finish()
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
