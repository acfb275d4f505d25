"""What it is worth: methods beside baselines, over seeds, in one table."""
