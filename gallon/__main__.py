"""`python -m gallon`."""

from gallon.cli.app import main

main()
