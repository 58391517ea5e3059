"""Where calls go, with which API key and through which proxy: from arguments and the environment."""

import functools
import ipaddress
import os
import ssl
import urllib.request
from dataclasses import dataclass, field

import certifi
import httpx
from pydantic import SecretStr

from activitysmith_integrations.core.errors import ConfigurationError
from activitysmith_integrations.core.hosts import is_loopback
from activitysmith_integrations.core.keys import plain_string

DEFAULT_BASE_URL = "https://activitysmith.com/api"
API_KEY_VARIABLE = "ACTIVITYSMITH_API_KEY"
BASE_URL_VARIABLE = "ACTIVITYSMITH_BASE_URL"

# As in httpx, the directory counts only where no file is named.
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_QUOTES = ("'", '"')
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True)
class Endpoint:
    """Where calls go and the key they carry. Its repr shows no key.

    Args:
        base_url: The base URL, without a trailing slash.
        api_key: The API key.
    """

    base_url: str
    api_key: SecretStr = field(repr=False)

    @property
    def is_local(self) -> bool:
        """Whether calls stay on this machine: plain ``http://`` is allowed to nothing else."""
        return self.base_url.startswith("http:")


@dataclass(frozen=True)
class Proxy:
    """A proxy of the environment. Its repr shows no password.

    Args:
        variable: The environment variable that names it.
        url: Its URL, without user name and password.
        auth: User name and password.
    """

    variable: str
    url: str
    auth: tuple[bytes, bytes] | None = field(repr=False, default=None)


def resolve_endpoint(api_key: str | SecretStr | None, base_url: str | None) -> Endpoint:
    """The endpoint from arguments and the environment.

    Args:
        api_key: The key; the environment variable ``ACTIVITYSMITH_API_KEY`` where None.
        base_url: The base URL; ``ACTIVITYSMITH_BASE_URL``, then the service's own, where None.

    Raises:
        ConfigurationError: There is no key, or one of the two cannot be used. The message shows no key.
    """
    key_setting, key = "api_key", hide(api_key)
    if key is None:
        key_setting, key = API_KEY_VARIABLE, hide(os.environ.get(API_KEY_VARIABLE))
    url_setting, url = "base_url", base_url
    if url is None:
        url_setting, url = BASE_URL_VARIABLE, os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL
    return Endpoint(_check_base_url(url_setting, url), _check_api_key(key_setting, key))


def hide(api_key: str | SecretStr | None) -> SecretStr | None:
    """The key where no traceback shows it, as those with local variables show what a function was called with."""
    return api_key if api_key is None or isinstance(api_key, SecretStr) else SecretStr(api_key)


def _check_api_key(setting: str, api_key: SecretStr | None) -> SecretStr:
    """The key, if it can stand in a header; no message shows it."""
    if api_key is None:
        raise ConfigurationError((setting, "is not set; set it to the API key, or make the client with api_key=..."))
    fault = _fault_of_key(api_key.get_secret_value())
    if fault is not None:
        raise ConfigurationError((setting, fault))
    return SecretStr(plain_string(api_key.get_secret_value()))


def _fault_of_key(key: object) -> str | None:
    if not isinstance(key, str):
        return f"must be a string, not {type(key).__name__}"
    key = plain_string(key)
    if not key.strip():
        return "is blank; an ActivitySmith API key looks like ask_..."
    if "\n" in key or "\r" in key:
        return "has a line break; was it read from a file with its last newline?"
    if key[0] in _QUOTES and key[-1] in _QUOTES:
        return "has quotation marks around it, which belong to the shell or the file that it was copied from"
    if not key.isascii() or not key.isprintable() or " " in key:
        return "has a space, control or non-ASCII character; was it copied whole?"
    return None


def _check_base_url(setting: str, base_url: object) -> str:
    """The base URL without a trailing slash, if the key may travel to it."""
    if not isinstance(base_url, str):
        raise ConfigurationError((setting, f"must be a string, not {type(base_url).__name__}"))
    try:
        text = plain_string(base_url).strip()
        url = _parse_url(text)
    except (httpx.InvalidURL, ValueError):
        text, url = "", httpx.URL("")
    _check_port(setting, url)
    if url.scheme not in ("https", "http") or not url.host:
        raise ConfigurationError((setting, "is no URL of the form https://activitysmith.com/api"))
    if url.userinfo or "?" in text or "#" in text:
        raise ConfigurationError((setting, "must hold no user name, password, query or fragment"))
    if url.scheme == "http" and not is_loopback(url.host):
        raise ConfigurationError(
            (setting, f"plain http:// would show the API key to the network on the way to {url.host}; use https://")
        )
    return str(url).rstrip("/")


def _parse_url(text: str) -> httpx.URL:
    url = httpx.URL(text)
    url.host.encode("idna")  # httpx decodes an international name only now, and no socket takes a malformed one
    return url


def _check_port(setting: str, url: httpx.URL) -> None:
    if url.port is not None and not 0 < url.port < 65536:
        raise ConfigurationError((setting, f"{url.port} is no port; they go from 1 to 65535"))


def proxy_for(base_url: str) -> Proxy | None:
    """The proxy that the environment names for an ``https://`` base URL; None for none.

    ``HTTPS_PROXY``, then ``ALL_PROXY``, both also in lower case, unless ``NO_PROXY`` excepts the host: by its name,
    a domain above it, its address, a network of addresses, or ``*``; each with or without a port.

    Args:
        base_url: A base URL that was checked.

    Raises:
        ConfigurationError: The proxy cannot be used; the message names the variable and not its password.
    """
    proxies = urllib.request.getproxies()
    kind = next((kind for kind in ("https", "all") if proxies.get(kind)), None)
    url = httpx.URL(base_url)
    if kind is None or _is_excepted(url.host, url.port or 443, proxies.get("no", "")):
        return None
    return _parse_proxy(_variable(f"{kind}_proxy"), proxies[kind].strip())


def name_of_proxy(endpoint: Endpoint) -> str | None:
    """The proxy between here and an endpoint, as a message names it; None where there is none."""
    try:
        proxy = None if endpoint.is_local else proxy_for(endpoint.base_url)
    except ConfigurationError:  # the environment has changed since
        return None
    return f"the proxy of {proxy.variable} ({proxy.url})" if proxy else None


def _parse_proxy(variable: str, text: str) -> Proxy:
    if "://" not in text:
        text = f"http://{text}"
    try:
        url = _parse_url(text)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if not url.scheme:
        raise ConfigurationError((variable, "is no URL of the form http://host:port"))
    if url.scheme not in _PROXY_SCHEMES:
        raise ConfigurationError((variable, f"{url.scheme}:// is not among {', '.join(_PROXY_SCHEMES)}"))
    if not url.host or "%" in url.host:  # which a space becomes
        raise ConfigurationError((variable, "names no host"))
    _check_port(variable, url)
    auth = (url.username.encode(), url.password.encode()) if url.userinfo else None
    # What is behind the port, such as the slash of http://proxy:3128/, means nothing to a proxy.
    return Proxy(variable, str(url.copy_with(userinfo=b"", path="/", query=None, fragment=None)), auth)


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    bracketed = f"[{host}]" if ":" in host else host
    entries = [entry.strip() for entry in no_proxy.split(",")]
    if "*" in entries or urllib.request.proxy_bypass(f"{bracketed}:{port}"):
        return True
    # The standard library compares names only: a network of addresses is ours to look into.
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(_is_within(address, entry) for entry in entries)


def _is_within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False


def _variable(name: str) -> str:
    """The environment variable as it is written there; the standard library prefers lower case (Python 3.11)."""
    return name if name in os.environ else next((one for one in os.environ if one.lower() == name), name.upper())


@functools.cache
def ssl_context() -> ssl.SSLContext:
    """The TLS context that httpx would make, made once: loading the certificates takes some 20 ms each time.

    Raises:
        ConfigurationError: ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` cannot be used.
    """
    variable = next((name for name in _CERTIFICATES if os.environ.get(name)), None)
    path = os.environ[variable] if variable else certifi.where()
    try:
        if variable != "SSL_CERT_DIR":
            return ssl.create_default_context(cafile=path)
        if not any(map(os.path.isdir, path.split(os.pathsep))):  # OpenSSL would say nothing, and trust nobody
            raise NotADirectoryError("no such directory")
        return ssl.create_default_context(capath=path)
    except (OSError, ValueError) as error:
        fault = getattr(error, "strerror", None) or str(error)
        # The standard library opens one more file: the one that TLS keys are to be logged in.
        keys = os.environ.get("SSLKEYLOGFILE")
        if keys and getattr(error, "filename", None) == keys:
            variable, path = "SSLKEYLOGFILE", keys
        raise ConfigurationError((variable or "certificates", f"{path!r} cannot be loaded: {fault}")) from error
