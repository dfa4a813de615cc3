"""The command line: the only place that prints for people and reads the environment."""

from penin.cli.app import main

__all__ = ["main"]
