"""Comparative measurements of container runtimes: ``python -m bench``. See bench/README.md."""
