"""Side-by-side measurements of container runtimes: ``python -m bench``. See bench/README.md."""
