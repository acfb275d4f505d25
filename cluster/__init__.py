"""Runs at scale: reads libraries, annotates them on Ray, and keeps the annotations in Redis."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # who imports us decides what is shown
