"""`python -m gallon`."""

from gallon.app import main

main()
