"""Where the live page is served, and by which names it may be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from eisenmp.address import Address, address_of, fits, is_token


@pytest.mark.parametrize(
    ('value', 'host', 'ports'),
    [
        (8080, '127.0.0.1', (8080,)),
        (1, '127.0.0.1', (1,)),
        ('localhost:8080', 'localhost', (8080,)),
        ('0.0.0.0:80', '0.0.0.0', (80,)),
        ('[::1]:8080', '::1', (8080,)),
        ('box.example:65535', 'box.example', (65535,)),
    ],
)
def test_what_it_may_be(value: Any, host: str, ports: tuple[int, ...]) -> None:
    assert fits(value)
    assert address_of(value) == Address(host, ports)


def test_true_is_any_free_port_of_this_machine_and_false_is_none() -> None:
    address = address_of(True)
    assert address is not None
    assert address.is_local
    assert len(address.ports) > 10
    assert address.ports[-1] == 0
    assert fits(True)
    assert fits(False)
    assert address_of(False) is None


@pytest.mark.parametrize(
    'value',
    [
        *(None, 0, -1, 65536, 80.0, '', '8080', ':8080', 'host', 'host:', 'host:0', 'host:65536', 'a b:80', '::1:80'),
        *('[host]:80', '[::1]', 'http://host:80', 'u@host:80', 'host:80/x', 'host:80\n', b'host:80', [8080]),
    ],
)
def test_what_it_may_not_be(value: Any) -> None:
    assert not fits(value)


@pytest.mark.parametrize('host', ['127.0.0.1', '127.3.2.1', 'localhost', 'LOCALHOST', '::1'])
def test_loopback_is_local(host: str) -> None:
    assert Address(host, (1,)).is_local


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '10.0.0.1', 'box.example', 'localhost.example', '8.8.8.8'])
def test_nothing_else_is(host: str) -> None:
    assert not Address(host, (1,)).is_local


@pytest.mark.parametrize(
    ('host', 'url'),
    [
        ('127.0.0.1', 'http://127.0.0.1:80/'),
        ('::1', 'http://[::1]:80/'),
        ('0.0.0.0', 'http://127.0.0.1:80/'),
        ('::', 'http://[::1]:80/'),
        ('box.example', 'http://box.example:80/'),
    ],
)
def test_the_url_leads_there_from_here(host: str, url: str) -> None:
    assert Address(host, (1,)).url(80) == url


@pytest.mark.parametrize('header', ['localhost', 'localhost:80', '127.0.0.1:8080', '[::1]:8080', 'LocalHost:1'])
def test_names_of_this_machine_are_good(header: str) -> None:
    assert Address('127.0.0.1', (1,)).answers_to(header)


@pytest.mark.parametrize(
    'header',
    [
        *(None, '', 'evil.example', 'evil.example:8080', 'localhost.evil.example', '127.0.0.1.evil.example'),
        *('10.0.0.1', 'localhost:80:80', 'x@localhost', 'localhost/', ' localhost', 'localhost ', '[::1', '[evil]:80'),
        '2130706433',
    ],
)
@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost', '::1', 'box.example'])
def test_names_of_others_are_not(host: str, header: str | None) -> None:
    assert not Address(host, (1,)).answers_to(header)


def test_the_name_that_was_asked_for_is_good() -> None:
    assert Address('box.example', (1,)).answers_to('box.example:8080')
    assert Address('Box.Example', (1,)).answers_to('box.EXAMPLE')


@pytest.mark.parametrize('host', ['0.0.0.0', '::'])
def test_who_listens_everywhere_answers_to_numbers_but_not_to_names(host: str) -> None:
    """A name may have been made to lead here by whoever owns it; a number leads where it leads."""
    address = Address(host, (1,))
    assert address.answers_to('192.168.1.7:8080')
    assert address.answers_to('[fe80::1]:8080')
    assert address.answers_to('localhost')
    assert not address.answers_to('evil.example:8080')


@pytest.mark.parametrize('token', [None, 'a' * 16, 'aZ09._~-aZ09._~-', 'x' * 200])
def test_tokens(token: Any) -> None:
    assert is_token(token)


@pytest.mark.parametrize(
    'token', ['', 'a' * 15, 'a' * 16 + ' ', 'a' * 16 + '#', 'ä' * 16, 'a' * 16 + '\n', 7, b'a' * 16]
)
def test_no_tokens(token: Any) -> None:
    assert not is_token(token)
