"""Which of the candidates for a molecule's neighbours an LLM holds to be informative."""
