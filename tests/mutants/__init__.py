"""Mutants: small faults put into the code on purpose, each to be noticed by a test."""
