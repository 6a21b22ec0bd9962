"""What the task `agent` is made of. Only that task imports it, and it alone imports pydantic-ai, when it runs."""
