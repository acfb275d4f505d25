"""Learns from annotations and labels: datasets, teachers, students, and what they are compared with."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # who imports us decides what is shown
