"""The containers of pocker: created, started, stopped, inspected, removed."""
