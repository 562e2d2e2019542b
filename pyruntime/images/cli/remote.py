"""Options of the commands that use registries."""

from __future__ import annotations

from pyruntime.commandline.parse import FALSE, TRUE, Flag, Parsed
from pyruntime.errors import UsageError
from pyruntime.images.cli.main import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.api import ImageStore
    from pyruntime.images.registry.registries import Registries

REMOTE = (
    Flag("creds", "str", "credentials for the registry", value="USER[:PASSWORD]"),
    Flag("authfile", "str", "read credentials only from FILE", value="FILE"),
    Flag("tls-verify", "str", "require HTTPS and verify certificates: true or false (default: as in"
         " registries.conf)", value="BOOL"),
    Flag("cert-dir", "str", "read CA and client certificates from DIR", value="DIR"),
    Flag("registries-conf", "str", "read only FILE instead of registries.conf", value="FILE"),
    Flag("retries", "int", "number of times to retry a failed request", default=4),
)


def registries_of(context: Context, parsed: Parsed) -> Registries:
    """The registries, with the settings and credentials of the options. Raises UsageError."""
    from pyruntime.images.registry.credentials import Login  # lazy: only when the command runs
    from pyruntime.images.registry.registries import Registries

    verify = parsed["tls-verify"]
    if verify and verify not in TRUE | FALSE:
        raise UsageError(f'--tls-verify "{verify}": write true or false')
    creds = parsed.values.get("creds")   # login has no --creds
    return Registries(login=Login.parse(creds) if creds else None, authfile=parsed["authfile"],
                      insecure=verify in FALSE if verify else None, cert_dir=parsed["cert-dir"],
                      registries_conf=parsed["registries-conf"], retries=parsed["retries"],
                      warn=context.warn, debug=context.debug)


def image_store(context: Context, parsed: Parsed) -> ImageStore:
    """The library over the store and the registries of the options, which are read at their first use."""
    from pyruntime.images.api import ImageStore  # lazy: only when the command runs

    return ImageStore(store=lambda: context.store, registries=lambda: registries_of(context, parsed),
                      warn=context.warn)
