"""Rules of a task: out of files, or as an LLM names them."""
