"""``Registries``: how one program reaches registries, and which image a name means there.

It joins the settings (registries.conf: mirrors, aliases, blocked and insecure registries), the credentials and the
program's messages. Nothing is read or connected before the first use.
"""

from __future__ import annotations

from pyruntime.errors import RegistryError
from pyruntime.images.registry.client import Repository
from pyruntime.images.registry.credentials import Credentials, Login
from pyruntime.images.registry.http import nothing
from pyruntime.images.registry.settings import RegistrySettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyruntime.images.document import Descriptor
    from pyruntime.images.reference import Reference


class Registries:
    """The registries of one program.

    ``login``            credentials for every origin, but for no mirror; None: as the authentication files say
    ``authfile``         the only authentication file; "": the usual ones (containers-auth.json(5))
    ``insecure``         True: plain HTTP is allowed and certificates are not verified; None: as registries.conf says
    ``cert_dir``         CA and client certificates, instead of the certs.d directories
    ``registries_conf``  the only registries.conf; "": the usual ones (containers-registries.conf(5))
    ``retries``          how many times a failed request is repeated
    ``warn``, ``debug``  called with messages
    """

    def __init__(self, *, login: Login | None = None, authfile: str = "", insecure: bool | None = None,
                 cert_dir: str = "", registries_conf: str = "", retries: int = 4,
                 warn: Callable[[str], None] = nothing, debug: Callable[[str], None] = nothing) -> None:
        self.authfile = authfile
        self._login = login
        self._insecure = insecure
        self._cert_dir = cert_dir
        self._registries_conf = registries_conf
        self._retries = retries
        self._warn = warn
        self._debug = debug
        self._settings: RegistrySettings | None = None
        self._credentials: Credentials | None = None

    @property
    def settings(self) -> RegistrySettings:
        """The settings of registries.conf. Raises ConfigError, UsageError."""
        if self._settings is None:
            self._settings = RegistrySettings.load(self._registries_conf, insecure=self._insecure,
                                                   cert_dir=self._cert_dir, attempts=self._retries + 1)
        return self._settings

    @property
    def credentials(self) -> Credentials:
        """The logins of the authentication files."""
        if self._credentials is None:
            self._credentials = Credentials(explicit=self._login, authfile=self.authfile, warn=self._warn)
        return self._credentials

    def repository(self, reference: Reference, *, push: bool = False) -> Repository:
        """The repository of a reference; nothing is connected yet. Raises RegistryError for a blocked registry."""
        return Repository.open(reference, settings=self.settings, credentials=self.credentials, push=push,
                               warn=self._warn, debug=self._debug)

    def named(self, name: str) -> Reference:
        """The reference that a name without a tag means: an alias, the first search registry, or Docker Hub."""
        return self.settings.candidates(name)[0]

    def find(self, name: str) -> tuple[Repository, Reference, Descriptor | None]:
        """The repository that has the image, its reference with a tag, and the root descriptor, or None if it was not
        asked for. Of a short name, the first search registry that has the image.

        Without a tag it is ``latest``, or the newest tag if the repository has no ``latest``: then ``warn`` is called.
        Tags are resolved by HEAD, which registries do not count as a pull. Raises RegistryError, which names every
        registry that was tried.
        """
        candidates = self.settings.candidates(name)
        failed: list[str] = []
        for number, reference in enumerate(candidates):
            is_last = number == len(candidates) - 1
            repository = self.repository(reference)
            try:
                tagged, found = self._resolve(repository, reference, alone=len(candidates) == 1)
                if is_last and found is None and failed:
                    repository.manifest(tagged.target)   # for the registry's message
                if found or is_last:
                    return repository, tagged, found
                failed.append(f'"{reference}" does not exist')
            except RegistryError as error:
                repository.close()
                failed.append(str(error.args[0]))
                if is_last:
                    error.args = ("; before that: ".join(reversed(failed)),)
                    raise
            repository.close()
        raise AssertionError("a name means at least one reference")

    def _resolve(self, repository: Repository, reference: Reference, *, alone: bool
                 ) -> tuple[Reference, Descriptor | None]:
        """The reference with a tag, and its descriptor; None if it does not exist or was not asked for."""
        if reference.digest:
            return reference, None if alone else repository.head(reference.digest)
        tagged = reference.with_tag(reference.tagged)
        found = repository.head(tagged.tag)
        if found is not None or reference.tag:
            return tagged, found
        newest = repository.newest_tag()
        self._warn(f'"{reference}" has no tag "{tagged.tag}": using the newest tag, "{newest}"')
        return reference.with_tag(newest), repository.head(newest)
