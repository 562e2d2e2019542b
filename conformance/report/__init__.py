"""Renderings of a run: text for people, TAP and JUnit XML for machines, two runtimes side by side, JSON to keep."""
