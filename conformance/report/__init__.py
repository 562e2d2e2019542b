"""Renderings of a run: text for people, TAP and JUnit XML for programs, a comparison of two runtimes, JSON for
storage."""
