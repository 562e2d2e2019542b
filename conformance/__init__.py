"""The conformance harness: test any OCI runtime through its command line.

Two sources of tests, one kind of result:

* ``official``: the validation programs of ``github.com/opencontainers/runtime-tools``, built with the Go toolchain;
* ``own``: our cases, one for each requirement of the runtime specification that the official programs do not cover.

``python -m conformance --help`` describes how to run them, README.md has the results.
"""
