"""What is learnt from: labelled molecules, how they are divided, and in which forms they are read."""
