"""What is wrong before any request is a ConfigurationError that names the argument or the variable."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from support.service import KEY

from activitysmith_integrations.core import (
    ActivitySmithClient,
    AsyncActivitySmithClient,
    ConfigurationError,
    RetryPolicy,
    config,
)

PROXIES = ("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY", "NO_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
SERVICE = "https://activitysmith.com/api"
ELSEWHERE = {"api_key": KEY, "base_url": "https://example.invalid", "retry": RetryPolicy(max_retries=0)}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing is set up."""
    for name in ("ACTIVITYSMITH_API_KEY", "ACTIVITYSMITH_BASE_URL", *PROXIES, *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.fixture(autouse=True)
def certificates_loaded_anew() -> Any:
    config.ssl_context.cache_clear()
    yield
    config.ssl_context.cache_clear()


def _setting(refused: pytest.ExceptionInfo[ConfigurationError]) -> str:
    """The argument or variable that an error names."""
    ((name, _),) = refused.value.problems
    return name


# Key, base URL, timeout and retries


@pytest.mark.parametrize("key", ["", " ", "ask_x\n", "ask x", "ask_é", "ask_\x7f"])
def test_a_key_is_blamed_on_where_it_came_from(environment: pytest.MonkeyPatch, key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        ActivitySmithClient(key)
    assert _setting(refused) == "api_key"
    environment.setenv("ACTIVITYSMITH_API_KEY", key)
    with pytest.raises(ConfigurationError) as refused:
        AsyncActivitySmithClient()
    assert _setting(refused) == "ACTIVITYSMITH_API_KEY"
    assert "ask" not in str(refused.value).replace("looks like ask_...", "")


@pytest.mark.parametrize(
    "url", ["activitysmith.com", "http://example.com", "https://u:secret@example.com", "https://x:0"]
)
def test_a_base_url_is_blamed_on_where_it_came_from(environment: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        ActivitySmithClient(KEY, base_url=url)
    assert _setting(refused) == "base_url"
    environment.setenv("ACTIVITYSMITH_BASE_URL", url)
    with pytest.raises(ConfigurationError) as refused:
        AsyncActivitySmithClient(KEY)
    assert _setting(refused) == "ACTIVITYSMITH_BASE_URL"
    assert "secret" not in str(refused.value)


def test_an_empty_base_url_in_the_environment_is_none(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ACTIVITYSMITH_BASE_URL", "")
    assert ActivitySmithClient(KEY).base_url == SERVICE


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"api_key": 7}, "api_key"),
        ({"base_url": httpx.URL("https://example.com")}, "base_url"),
        ({"api_key": SecretStr("ask x")}, "api_key"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": 10**400}, "timeout"),
        ({"retry": None}, "retry"),
        ({"retry": 3}, "retry"),
        ({"http_client": "httpx"}, "http_client"),
    ],
)
def test_an_argument_of_a_client_is_named(arguments: dict[str, Any], setting: str) -> None:
    for client in (ActivitySmithClient, AsyncActivitySmithClient):
        with pytest.raises(ConfigurationError) as refused:
            client(**{"api_key": KEY, **arguments})
        assert _setting(refused) == setting


def test_another_patience_of_a_client_must_be_one() -> None:
    with pytest.raises(ConfigurationError, match="retry: must be a RetryPolicy, not int"):
        ActivitySmithClient(KEY).with_retry(3)  # type: ignore[arg-type]


# Proxies


def _proxy(base_url: str = SERVICE) -> str | None:
    found = config.proxy_for(base_url)
    return None if found is None else found.url


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "Https_Proxy"])
def test_a_proxy_is_taken_from_the_environment_and_its_faults_are_blamed_on_the_variable(
    environment: pytest.MonkeyPatch, over_the_wire: Any, variable: str
) -> None:
    environment.setenv(variable, "http://proxy:3128")
    assert _proxy() == "http://proxy:3128/"
    environment.setenv(variable, "http://user:secret@proxy:port")
    with pytest.raises(ConfigurationError) as refused:
        over_the_wire(ELSEWHERE, "end_stream", "nightly")
    assert _setting(refused) == variable
    assert "secret" not in str(refused.value)


def test_a_proxy_in_lower_case_wins_and_https_wins_over_all(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", "http://all")
    assert _proxy() == "http://all/"
    environment.setenv("HTTPS_PROXY", "http://upper")
    assert _proxy() == "http://upper/"
    environment.setenv("https_proxy", "http://lower")
    assert _proxy() == "http://lower/"
    environment.setenv("HTTP_PROXY", "http://other")
    assert _proxy() == "http://lower/"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("proxy:3128", "http://proxy:3128/"),
        (" http://proxy ", "http://proxy/"),
        ("http://proxy:3128/path?query#fragment", "http://proxy:3128/"),
        ("https://proxy", "https://proxy/"),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128/"),
        ("socks5://proxy", "socks5://proxy/"),
        ("socks5h://proxy:1080", "socks5h://proxy:1080/"),
    ],
)
def test_a_proxy_may_be_written_as_curl_takes_it(environment: pytest.MonkeyPatch, value: str, url: str) -> None:
    environment.setenv("HTTPS_PROXY", value)
    assert _proxy() == url


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("ftp://proxy", "ftp:// is not among http, https, socks5, socks5h"),
        ("nonsense://", "nonsense:// is not among"),
        ("http://", "names no host"),
        (" ", "names no host"),
        ("http://a proxy", "names no host"),
        ("http://proxy:port", "is no URL of the form http://host:port"),
        ("http://[::1", "is no URL of the form http://host:port"),
        ("http://proxy\udcff", "is no URL of the form http://host:port"),
        ("http://xn--0", "is no URL of the form http://host:port"),
        ("HTTP://XN--", "is no URL of the form http://host:port"),
        ("http://proxy..corp:3128", "is no URL of the form http://host:port"),
        (f"socks5://{'x' * 70}.corp:1", "is no URL of the form http://host:port"),
        ('"http://proxy:3128"', "is no URL of the form http://host:port"),
        ("http://proxy:0", "0 is no port"),
        ("proxy:99999", "99999 is no port"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_with_its_fault(
    environment: pytest.MonkeyPatch, over_the_wire: Any, value: str, fault: str
) -> None:
    environment.setenv("HTTPS_PROXY", value)
    with pytest.raises(ConfigurationError) as refused:
        over_the_wire(ELSEWHERE, "end_stream", "nightly")
    assert str(refused.value).startswith("HTTPS_PROXY: ")
    assert fault in str(refused.value)


def test_a_proxys_password_is_in_no_repr(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", "http://user:secret@proxy")
    assert "secret" not in repr(config.proxy_for(SERVICE))


EXCEPTED = [
    ("https://activitysmith.com/api", "activitysmith.com"),
    ("https://activitysmith.com/api", "localhost, .com"),
    ("https://api.example.com", "example.com"),
    ("https://api.example.com", ".example.com"),
    ("https://api.example.com", "API.EXAMPLE.COM"),
    ("https://api.example.com:8443", "api.example.com:8443"),
    ("https://api.example.com", "api.example.com:443"),
    ("https://api.example.com", "*"),
    ("https://api.example.com", "localhost, *"),
    ("https://10.1.2.3", "10.1.2.3"),
    ("https://10.1.2.3:8443", "10.1.2.3:8443"),
    ("https://10.1.2.3", "localhost,10.0.0.0/8"),
    ("https://10.1.2.3", "10.1.2.99/24"),
    ("https://[::1]", "[::1]"),
    ("https://[::1]", "::1"),
    ("https://[::1]:8443", "[::1]:8443"),
    ("https://[::1]", "::1/128"),
    ("https://[fd00::7]", "10.0.0.0/8,fd00::/8"),
    ("https://[fd00::7]", "[fd00::]/8"),
    ("https://[FD00::7]", "fd00:0:0::7"),
]
NOT_EXCEPTED = [
    ("https://activitysmith.com/api", ""),
    ("https://activitysmith.com/api", "smith.com"),
    ("https://activitysmith.com/api", "localhost,[::1]"),
    ("https://activitysmith.com/api", "10.0.0.0/8, fd00::/8, ::1/128, 0.0.0.0/0"),
    ("https://activitysmith.com/api", "activitysmith.com:8443"),
    ("https://api.example.com", "example.org, ,[, ], :, /, 10/8/7, ::::, [::1, \udcff"),
    ("https://10.1.2.3", "10.0.0.0/16"),
    ("https://10.1.2.3", "fd00::/8"),
    ("https://[fd00::7]", "[::1]"),
    ("https://[fd00::7]:8443", "[fd00::7]:443"),
]


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(("base_url", "value"), EXCEPTED)
def test_no_proxy_excepts_names_domains_addresses_networks_and_ports(
    environment: pytest.MonkeyPatch, variable: str, base_url: str, value: str
) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy:port")
    environment.setenv(variable, value)
    assert _proxy(base_url) is None


@pytest.mark.parametrize(("base_url", "value"), NOT_EXCEPTED)
def test_no_proxy_excepts_nothing_else(environment: pytest.MonkeyPatch, base_url: str, value: str) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy")
    environment.setenv("NO_PROXY", value)
    assert _proxy(base_url) == "http://proxy/"


# Certificates


def _nothing(folder: Path) -> str:
    return str(folder / "missing")


def _folder(folder: Path) -> str:
    return str(folder)


def _text(folder: Path) -> str:
    (folder / "certificates.pem").write_text("no certificate")
    return str(folder / "certificates.pem")


@pytest.mark.parametrize(
    ("variable", "make"),
    [
        ("SSL_CERT_FILE", _nothing),
        ("SSL_CERT_FILE", _folder),
        ("SSL_CERT_FILE", _text),
        ("SSL_CERT_DIR", _nothing),
        ("SSL_CERT_DIR", _text),
        ("SSLKEYLOGFILE", _folder),
    ],
)
def test_certificates_that_cannot_be_loaded_are_blamed_on_their_variable(
    environment: pytest.MonkeyPatch,
    over_the_wire: Any,
    tmp_path: Path,
    variable: str,
    make: Callable[[Path], str],
) -> None:
    environment.setenv(variable, make(tmp_path))
    with pytest.raises(ConfigurationError, match="cannot be loaded: ") as refused:
        over_the_wire(ELSEWHERE, "end_stream", "nightly")
    assert _setting(refused) == variable
    assert make(tmp_path) in str(refused.value)


def test_a_file_wins_over_a_directory_and_one_of_two_directories_is_enough(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("SSL_CERT_DIR", os.pathsep.join([_nothing(tmp_path), str(tmp_path)]))
    assert config.ssl_context().get_ca_certs() == []
    config.ssl_context.cache_clear()
    environment.setenv("SSL_CERT_FILE", _nothing(tmp_path))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        config.ssl_context()


def test_without_a_variable_the_certificates_are_httpxs(environment: pytest.MonkeyPatch) -> None:
    assert config.ssl_context().get_ca_certs()
    config.ssl_context.cache_clear()
    environment.setattr("certifi.where", lambda: "/nowhere/certificates.pem")
    with pytest.raises(ConfigurationError, match=r"certificates: '/nowhere/certificates\.pem' cannot be loaded"):
        config.ssl_context()
