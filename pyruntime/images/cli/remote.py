"""Options and connections of the commands that speak with registries."""

from __future__ import annotations

from pyruntime.commandline.parse import Flag, Parsed
from pyruntime.images.cli.main import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.images.document import Descriptor
    from pyruntime.images.reference import Reference
    from pyruntime.images.registry.client import Repository
    from pyruntime.images.registry.credentials import Credentials
    from pyruntime.images.registry.settings import Settings
    from pyruntime.images.transports.registry import RegistrySource, RegistryTarget

# What every command that may speak with a registry takes.
REMOTE = (
    Flag("creds", "str", "credentials for the registry", value="USER[:PASSWORD]"),
    Flag("authfile", "str", "read credentials only from FILE", value="FILE"),
    Flag("tls-verify", "str", "require HTTPS and verify certificates: true or false (default: as in"
         " registries.conf)", value="BOOL"),
    Flag("cert-dir", "str", "read CA and client certificates from DIR", value="DIR"),
    Flag("registries-conf", "str", "read only FILE instead of registries.conf", value="FILE"),
    Flag("retries", "int", "number of times to retry a failed request", default=4),
)


def settings_of(parsed: Parsed) -> Settings:
    """How registries are reached, by options and files."""
    from pyruntime.commandline.parse import FALSE, TRUE
    from pyruntime.errors import UsageError
    from pyruntime.images.registry.settings import Settings

    verify = parsed["tls-verify"]
    if verify and verify not in TRUE | FALSE:
        raise UsageError(f'--tls-verify "{verify}": write true or false')
    return Settings.load(parsed["registries-conf"], insecure=verify in FALSE if verify else None,
                         cert_dir=parsed["cert-dir"], attempts=parsed["retries"] + 1)


def credentials_of(context: Context, parsed: Parsed) -> Credentials:
    """Who we are to registries."""
    from pyruntime.images.registry.credentials import Credentials, Login

    return Credentials(explicit=Login.parse(parsed["creds"]) if parsed["creds"] else None, authfile=parsed["authfile"],
                       warn=context.warn)


def repository(context: Context, parsed: Parsed, reference: Reference, *, push: bool = False) -> Repository:
    """The repository that a reference names."""
    from pyruntime.images.registry.client import Repository

    return Repository.open(reference, settings=settings_of(parsed), credentials=credentials_of(context, parsed),
                           push=push, warn=context.warn, debug=context.debug)


def remote_source(context: Context, parsed: Parsed, text: str) -> RegistrySource:
    """The image that ``text`` names in a registry; of a short name the first registry that has it.

    Without a tag it is ``latest``, or where there is none the newest one, which the user is told of. What the tag
    stands for is asked by HEAD, which registries do not count as a pull.
    """
    from pyruntime.errors import RegistryError
    from pyruntime.images.transports.registry import RegistrySource

    candidates = settings_of(parsed).candidates(text)
    failed: list[str] = []
    for number, reference in enumerate(candidates):
        there = repository(context, parsed, reference)
        try:
            tagged, found = _resolve(context, there, reference, alone=len(candidates) == 1)
            if number == len(candidates) - 1 and found is None and failed:
                there.manifest(tagged.target)   # for its words
            if found or number == len(candidates) - 1:
                return RegistrySource(there, tagged, found)
            failed.append(f'"{reference}" is not there')
        except RegistryError as error:
            there.close()
            failed.append(str(error.args[0]))
            if number == len(candidates) - 1:
                error.args = ("; before that: ".join(reversed(failed)),)
                raise
        there.close()
    raise AssertionError("a reference means something")


def _resolve(context: Context, there: Repository, reference: Reference, *, alone: bool
             ) -> tuple[Reference, Descriptor | None]:
    """The reference with a tag, and what it stands for; None where it is not there, or was not asked for."""
    if reference.digest:
        return reference, None if alone else there.head(reference.digest)
    tagged = reference.with_tag(reference.tagged)
    found = there.head(tagged.tag)
    if found is not None or reference.tag:
        return tagged, found
    newest = there.newest_tag()
    context.warn(f'"{reference}" has no tag "{tagged.tag}": taking the newest, "{newest}"')
    return reference.with_tag(newest), there.head(newest)


def remote_target(context: Context, parsed: Parsed, text: str, mount_from: str = "") -> RegistryTarget:
    """The place in a registry that ``text`` names."""
    from pyruntime.images.reference import Reference
    from pyruntime.images.transports.registry import RegistryTarget

    reference = Reference.parse(text)
    if not reference.digest:
        reference = reference.with_tag(reference.tagged)
    return RegistryTarget(repository(context, parsed, reference, push=True), reference, mount_from)
