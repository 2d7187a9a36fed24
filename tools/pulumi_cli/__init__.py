"""Finds the Pulumi CLI, or installs one, and prints the environment in which the stack `local` uses it.

Start it from the root of the checkout: `python -m tools.pulumi_cli --help`.
"""
