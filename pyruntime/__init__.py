"""pyruntime: an OCI-spec low-level container runtime."""

__version__ = "0.1.0"
