"""How good methods are, and which are ahead for sure."""
