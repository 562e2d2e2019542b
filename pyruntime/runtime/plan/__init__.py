"""The launch plan: what it is made of (steps), its order (phases), its bytes (encode), its text (explain)."""
