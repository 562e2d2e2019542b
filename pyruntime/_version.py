"""The version of the package, importable without anything else."""

__version__ = "0.1.0"


def commit() -> str:
    """The commit that the package was built from: 12 digits, and "-dirty" if the files had other changes; "unknown" if
    it was built from neither a checkout nor a source archive of one."""
    try:
        from pyruntime._commit import COMMIT  # lazy: only for --version
    except ImportError:   # not built
        return "unknown"
    return COMMIT
