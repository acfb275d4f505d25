"""What is learnt from: labelled molecules, and how they are divided."""
