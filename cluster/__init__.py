"""Runs at scale: reads libraries, annotates them on Ray, and keeps the annotations in Redis."""
