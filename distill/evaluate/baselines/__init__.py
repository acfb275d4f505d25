"""Models without a teacher, to be printed beside everything that has one."""
