"""The engines: vLLM in this process, and any server that speaks the OpenAI protocol."""
