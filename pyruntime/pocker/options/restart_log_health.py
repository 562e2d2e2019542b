"""The flags about a container's life: restarts, its log, its health."""

from __future__ import annotations

from pyruntime.commandline.units import duration, pair, size, whole, wrong
from pyruntime.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.pocker.options.settings import Settings

RESTARTS = ("no", "always", "on-failure", "unless-stopped")
# Ours is lines of JSON as Docker's json-file; the other names mean the same to people who come from elsewhere.
DRIVERS = {"file": "file", "json-file": "file", "local": "file", "k8s-file": "file", "none": "none"}
HEALTH_TIMES = {"health-interval": "interval", "health-timeout": "timeout", "health-start-period": "start_period",
                "health-start-interval": "start_interval"}
HEALTH_DEFAULTS = {"interval": 30.0, "timeout": 30.0, "start_period": 0.0, "start_interval": 5.0, "retries": 3}
_LEAST = 0.001   # seconds, of Docker


def read(settings: Settings, given: dict[str, Any]) -> None:
    """What the flags say, into the settings. Raises UsageError."""
    if "restart" in given:
        settings.restart, settings.restart_limit = restart(given["restart"])
    if settings.restart != "no" and given.get("rm"):
        raise UsageError("--rm and --restart do not go together: what is removed cannot be started again")
    if "log-driver" in given:
        if given["log-driver"] not in DRIVERS:
            raise wrong("log-driver", given["log-driver"], f"write {', '.join(DRIVERS)}")
        settings.log_driver = DRIVERS[given["log-driver"]]
    for text in given.get("log-opt", []):
        _log_option(settings, text)
    settings.health = health(given)


def restart(text: str) -> tuple[str, int]:
    """A restart policy, and of on-failure how often at most."""
    word, colon, count = text.partition(":")
    if word not in RESTARTS and word:
        raise wrong("restart", text, "write no, always, unless-stopped or on-failure[:N]")
    if colon and word != "on-failure":
        raise wrong("restart", text, "only on-failure has a number")
    return word or "no", whole("restart", count, 0, 1 << 31) if colon else 0


def _log_option(settings: Settings, text: str) -> None:
    name, value = pair("log-opt", text)
    if name == "max-size":
        settings.log_size = max(0, -1 if value == "-1" else size("log-opt max-size", value))
    elif name == "max-file":
        settings.log_files = whole("log-opt max-file", value, 1, 1000)
    elif name in ("labels", "env"):
        settings.log_details[name] = value.split(",")
    elif name not in ("mode", "compress", "tag", "labels-regex", "env-regex", "max-buffer-size"):
        raise wrong("log-opt", text, "write max-size=SIZE, max-file=N, env=NAME,... or labels=NAME")


def health(given: dict[str, Any]) -> dict[str, Any]:
    """The part of a health check that the flags say."""
    if given.get("no-healthcheck"):
        if other := next((name for name in given if name.startswith("health-")), ""):
            raise UsageError(f"--no-healthcheck and --{other} do not go together")
        return {"test": ["NONE"]}
    result: dict[str, Any] = {}
    if given.get("health-cmd"):
        result["test"] = ["CMD-SHELL", given["health-cmd"]]
    for flag, name in HEALTH_TIMES.items():
        if flag in given:
            seconds = duration(flag, given[flag])
            if 0 < seconds < _LEAST or seconds < 0:
                raise wrong(flag, given[flag], "write a millisecond at least, or 0 for the usual")
            if seconds:
                result[name] = seconds
    if given.get("health-retries"):
        result["retries"] = whole("health-retries", given["health-retries"], 0, 1 << 31)
    return result


def whole_health(asked: dict[str, Any], image: dict[str, Any] | None) -> dict[str, Any]:
    """A health check as it is carried out, of what the flags and the image's ``Healthcheck`` say; {} for none.

    The image's times are billionths of a second, and 0 where it does not say.
    """
    image = image or {}
    test = asked.get("test") or image.get("Test") or []
    if not test or test[0] == "NONE":
        return {}
    says = {name: max(0, image.get(member) or 0) / 1e9 for name, member in (
        ("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"))}
    says["retries"] = max(0, image.get("Retries") or 0)
    return {"test": test, **{name: asked.get(name) or says[name] or default
                             for name, default in HEALTH_DEFAULTS.items()}}
