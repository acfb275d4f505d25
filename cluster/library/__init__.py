"""A library: from the files that a user names to numbered rows, and to molecules."""
