"""The launch plan: its steps (steps), their order (phases), its binary form (encode), its text form (explain)."""
