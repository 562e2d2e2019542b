"""The conformance harness: judge any OCI runtime by its command line alone.

Two sources of verdicts, one kind of result:

* ``official``: the validation programs of ``github.com/opencontainers/runtime-tools``, built by the Go client;
* ``own``: our cases, one per requirement of the runtime specification that the official programs leave out.

``python -m conformance --help`` tells how to run them, README.md what they found.
"""
