"""The front door: the `gallon` command. It parses, prints and exits; the work is done in the rooms behind it.

Only light modules are imported here; each command imports what it needs, so that `gallon --help` answers at once.
"""
