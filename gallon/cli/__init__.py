"""The `gallon` command: it parses, prints and exits; the work is done by `gallon.api`.

Only light modules are imported at the top; each command imports what it needs, so that `gallon --help` answers at once.
"""
