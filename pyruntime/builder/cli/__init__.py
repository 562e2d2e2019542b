"""``build``, of pocker and of pyimage."""
