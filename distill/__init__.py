"""Learns from annotations. The room stands empty until the first learner moves in."""
