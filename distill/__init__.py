"""Learns from annotations and labels: datasets, teachers, students, and what they are compared with."""
