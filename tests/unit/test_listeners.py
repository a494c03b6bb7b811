"""Listening sockets that the manager keeps, who is steered where, and what the kernel tells about connections."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from eisenmp.listeners import SPREADS, Listeners, Wanted
from eisenmp.steering import attach, program
from eisenmp.traffic import handles_signal, open_connections, waiting_in
from tests.support import wait_until

LINUX = pytest.mark.skipif(not SPREADS, reason='connections are spread over sockets on Linux only')
FOUR = Wanted(socket.AF_INET, '127.0.0.1', 0, False)
SHARED = Wanted(socket.AF_INET, '127.0.0.1', 0, True)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    made = Listeners()
    yield made
    made.close()


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    yield made
    for client in made:
        client.close()


def port_of(listeners: Listeners) -> int:
    return listeners.addresses()[0][1]


def knock(port: int, times: int, clients: list[socket.socket]) -> None:
    clients += [socket.create_connection(('127.0.0.1', port)) for _ in range(times)]


def accepted(sock: socket.socket) -> int:
    """How many connections waited there; all of them are closed."""
    sock.setblocking(False)
    count = 0
    while True:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_a_slot_gets_the_same_socket_again(listeners: Listeners) -> None:
    first, shared = listeners.socket_for(0, FOUR, 5)
    assert listeners.socket_for(0, FOUR, 5) == (first, shared)
    assert shared is not SPREADS
    assert listeners.addresses() == [first.getsockname()]


@LINUX
def test_slots_have_sockets_of_their_own_on_one_port(listeners: Listeners, clients: list[socket.socket]) -> None:
    socks = [listeners.socket_for(slot, FOUR, 128)[0] for slot in range(3)]
    assert len({sock.fileno() for sock in socks}) == 3
    assert len({sock.getsockname() for sock in socks}) == 1
    knock(port_of(listeners), 90, clients)
    counts = [accepted(sock) for sock in socks]
    assert sum(counts) == 90
    assert min(counts) > 5, 'the kernel spreads them'


def test_one_socket_for_all_where_that_is_wanted(listeners: Listeners) -> None:
    one, shared = listeners.socket_for(0, SHARED, 5)
    assert shared
    assert listeners.socket_for(7, SHARED, 5)[0] is one
    assert not one.getblocking(), 'who is second to a connection must not wait for the next one'


def test_one_socket_for_all_where_the_kernel_does_not_spread() -> None:
    listeners = Listeners(spreads=False)
    one, shared = listeners.socket_for(0, FOUR, 5)
    assert shared
    assert listeners.socket_for(1, FOUR, 5)[0] is one
    assert not listeners.steer_away(1)
    listeners.close()


def test_a_port_in_use_is_refused_although_the_port_may_be_shared(listeners: Listeners) -> None:
    listeners.socket_for(0, FOUR, 5)
    others = Listeners()
    with pytest.raises(OSError, match='in use'):
        others.socket_for(0, Wanted(socket.AF_INET, '127.0.0.1', port_of(listeners), False), 5)
    assert others.addresses() == []


def test_an_address_that_is_not_ours(listeners: Listeners) -> None:
    with pytest.raises(OSError, match='assign'):
        listeners.socket_for(0, Wanted(socket.AF_INET, '192.0.2.1', 0, False), 5)


@LINUX
def test_new_connections_stay_away_from_a_slot_and_come_back(
    listeners: Listeners, clients: list[socket.socket]
) -> None:
    socks = [listeners.socket_for(slot, FOUR, 128)[0] for slot in range(3)]
    assert listeners.steer_away(1)
    knock(port_of(listeners), 60, clients)
    counts = [accepted(sock) for sock in socks]
    assert counts[1] == 0
    assert sum(counts) == 60
    assert min(counts[0], counts[2]) > 5
    listeners.steer_back(1)
    knock(port_of(listeners), 60, clients)
    assert all(accepted(sock) > 0 for sock in socks)


@LINUX
def test_when_all_are_away_the_kernel_spreads_as_ever(listeners: Listeners, clients: list[socket.socket]) -> None:
    socks = [listeners.socket_for(slot, FOUR, 128)[0] for slot in range(2)]
    for slot in range(2):
        listeners.steer_away(slot)
    knock(port_of(listeners), 60, clients)
    assert all(accepted(sock) > 0 for sock in socks)


@LINUX
@pytest.mark.parametrize(('family', 'host'), [(socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')])
def test_a_connection_from_a_certain_port_goes_where_it_is_wanted(
    listeners: Listeners, clients: list[socket.socket], family: int, host: str
) -> None:
    wanted = Wanted(family, host, 0, False)
    try:
        socks = [listeners.socket_for(slot, wanted, 128)[0] for slot in range(4)]
    except OSError:
        pytest.skip(f'this machine has no {host}')
    (group,) = listeners.groups_of(0)
    listeners.steer_away(2)  # which does not count for these
    ports = {}
    for slot in (2, 0, 3):
        client = socket.socket(family)
        clients.append(client)
        client.bind((host, 0))
        ports[slot] = client.getsockname()[1]
        assert listeners.pin(group, slot, ports[slot])
    for slot, client in zip((2, 0, 3), clients, strict=True):
        client.connect((host, group.address[1]))
        listeners.unpin(group, ports[slot])
        assert [accepted(sock) for sock in socks] == [int(at == slot) for at in range(4)]
    assert not group.pinned


@LINUX
def test_a_slot_that_is_forgotten_leaves_the_others_in_their_places(
    listeners: Listeners, clients: list[socket.socket]
) -> None:
    socks = [listeners.socket_for(slot, FOUR, 128)[0] for slot in range(4)]
    listeners.steer_away(3)
    listeners.forget(0)
    assert socks[0].fileno() == -1
    knock(port_of(listeners), 60, clients)
    counts = [accepted(sock) for sock in socks[1:]]
    assert counts[2] == 0, 'the kernel has moved its socket to the free place, and so have we'
    assert sum(counts) == 60
    again, _ = listeners.socket_for(0, FOUR, 128)
    knock(port_of(listeners), 60, clients)
    assert accepted(again) > 0
    assert accepted(socks[3]) == 0


@LINUX
def test_who_comes_when_the_one_that_was_kept_away_has_gone_gets_its_share(
    listeners: Listeners, clients: list[socket.socket]
) -> None:
    socks = [listeners.socket_for(slot, FOUR, 128)[0] for slot in range(2)]
    listeners.steer_away(1)
    listeners.forget(1)
    socks[1:] = [listeners.socket_for(slot, FOUR, 128)[0] for slot in (1, 2)]
    knock(port_of(listeners), 60, clients)
    assert all(accepted(sock) > 0 for sock in socks)


@LINUX
def test_what_comes_when_the_only_one_is_about_to_leave_waits_for_its_successor(
    listeners: Listeners, clients: list[socket.socket]
) -> None:
    old, _ = listeners.socket_for(0, FOUR, 128)
    (group,) = listeners.groups_of(0)
    assert listeners.is_alone(0)
    knock(port_of(listeners), 3, clients)
    for _ in range(3):  # as often as it is replaced
        assert listeners.renew(0)
        assert group.in_use(0) is old
        knock(port_of(listeners), 20, clients)
        listeners.retire(0)
        assert old.fileno() == -1
        new, _ = listeners.socket_for(0, FOUR, 128)
        assert group.in_use(0) is new
        knock(port_of(listeners), 5, clients)
        assert accepted(new) == 25
        old = new
    listeners.steer_back(0)
    assert not group.away
    assert [sock for _, sock in group.members] == [old]


@LINUX
def test_the_old_process_keeps_what_it_has_not_accepted_yet(listeners: Listeners, clients: list[socket.socket]) -> None:
    old, _ = listeners.socket_for(0, FOUR, 128)
    knock(port_of(listeners), 3, clients)
    listeners.renew(0)
    knock(port_of(listeners), 4, clients)
    assert accepted(old) == 3
    listeners.forget(0)
    assert listeners.groups_of(0) == []


@LINUX
def test_who_joins_meanwhile_gets_connections_too(listeners: Listeners, clients: list[socket.socket]) -> None:
    old, _ = listeners.socket_for(0, FOUR, 128)
    listeners.renew(0)
    other, _ = listeners.socket_for(1, FOUR, 128)
    new, _ = listeners.socket_for(0, FOUR, 128)
    knock(port_of(listeners), 60, clients)
    counts = [accepted(sock) for sock in (old, other, new)]
    assert counts[0] == 0
    assert sum(counts) == 60
    assert min(counts[1:]) > 5
    listeners.retire(0)
    knock(port_of(listeners), 60, clients)
    assert accepted(other) + accepted(new) == 60


@LINUX
def test_others_take_over_where_there_are_any(listeners: Listeners, clients: list[socket.socket]) -> None:
    """Two ports: the slot is alone on one of them."""
    socks = [listeners.socket_for(slot, FOUR, 128)[0] for slot in range(2)]
    first = port_of(listeners)
    own, _ = listeners.socket_for(0, Wanted(socket.AF_INET, '127.0.0.2', 0, False), 128)
    assert listeners.is_alone(0)
    assert not listeners.is_alone(1)
    assert listeners.renew(0)
    knock(first, 30, clients)
    assert [accepted(sock) for sock in socks] == [0, 30]
    clients.append(socket.create_connection(own.getsockname()))
    assert accepted(own) == 0
    listeners.retire(0)
    assert [accepted(listeners.socket_for(0, wanted, 128)[0]) for wanted in listeners._groups] == [0, 1]


@LINUX
@pytest.mark.parametrize('trouble', ['no program', 'no descriptor'])
def test_where_the_system_refuses_all_goes_where_it_went(
    listeners: Listeners, clients: list[socket.socket], monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    old, _ = listeners.socket_for(0, FOUR, 128)

    def refuse(*_: object, **__: object) -> socket.socket:
        raise OSError(errno.EMFILE, 'no descriptor')

    if trouble == 'no program':
        monkeypatch.setattr('eisenmp.listeners.attach', lambda *_: False)
    else:
        monkeypatch.setattr('eisenmp.listeners._bound', refuse)
    assert not listeners.renew(0)
    monkeypatch.undo()
    knock(port_of(listeners), 20, clients)
    assert accepted(old) == 20
    listeners.retire(0)
    assert listeners.socket_for(0, FOUR, 128)[0] is old
    other, _ = listeners.socket_for(1, FOUR, 128)
    knock(port_of(listeners), 60, clients)
    assert min(accepted(old), accepted(other)) > 5


def test_sockets_that_all_share_are_not_renewed() -> None:
    listeners = Listeners(spreads=False)
    one, _ = listeners.socket_for(0, FOUR, 5)
    assert not listeners.is_alone(0)
    listeners.retire(0)
    assert listeners.socket_for(0, FOUR, 5)[0] is one
    listeners.close()


def test_a_socket_that_its_server_has_shut_down_is_replaced(listeners: Listeners) -> None:
    first, _ = listeners.socket_for(0, FOUR, 5)
    address = first.getsockname()
    first.shutdown(socket.SHUT_RDWR)
    second, _ = listeners.socket_for(0, FOUR, 5)
    assert second is not first
    assert second.getsockname() == address
    socket.create_connection(address).close()


@LINUX
def test_the_program_is_small_and_any_size_of_group_fits() -> None:
    assert len(program(2)) == 8
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        assert attach(sock, program(512, away=[3], pinned={1000 + n: n for n in range(64)}))
        assert not attach(sock, b''), 'a program without instructions is none'


@LINUX
def test_the_kernel_tells_about_connections(clients: list[socket.socket]) -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = server.getsockname()[1]
        knock(port, 3, clients)
        assert waiting_in(server) == 3
        assert open_connections(os.getpid(), {port}) == 0, 'nobody has accepted them'
        ours = [server.accept()[0] for _ in range(2)]
        assert waiting_in(server) == 1
        assert open_connections(os.getpid(), {port}) == 2
        assert open_connections(os.getpid(), {port, 1}) == 2
        assert open_connections(os.getppid(), {port}) in (0, None), 'they are not those of somebody else'
        clients[0].close()
        assert open_connections(os.getpid(), {port}) == 2, 'it is half open: the server has not closed it'
        for one in ours:
            one.close()
        wait_until(lambda: open_connections(os.getpid(), {port}) == 0)


def test_of_a_process_that_is_gone_nothing_is_known() -> None:
    assert open_connections(2**22 + 1, {80}) is None
    assert handles_signal(2**22 + 1, signal.SIGTERM) is None


@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='this system does not tell')
def test_who_handles_a_signal() -> None:
    assert handles_signal(os.getpid(), signal.SIGUSR2) is False
    for handler in (signal.SIG_IGN, lambda *_: None):
        before = signal.signal(signal.SIGUSR2, handler)
        assert handles_signal(os.getpid(), signal.SIGUSR2) is True
        signal.signal(signal.SIGUSR2, before)
    assert handles_signal(os.getpid(), signal.SIGUSR2) is False
