"""Networks: what they read, and what they are."""
