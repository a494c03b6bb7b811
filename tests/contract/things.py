"""Objects that travel badly. Importable in the manager and in workers."""

import threading
from typing import Any, NoReturn


class TwoArgumentsError(Exception):
    """Pickles, and does not unpickle: ``args`` has one entry, ``__init__`` wants two."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f'{code}: {text}')
        self.code = code


class HoldsLockError(Exception):
    """Does not pickle."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class FineError(Exception):
    """Travels as it is, with what it carries."""

    def __init__(self, text: str, rows: list[int]) -> None:
        super().__init__(text, rows)
        self.rows = rows


def explode(text: str) -> NoReturn:
    raise ZeroDivisionError(text)


class Bomb:
    """Pickles, and explodes wherever it is unpickled."""

    def __reduce__(self) -> Any:
        return explode, ('a bomb was opened',)


class Unpicklable:
    """Refuses, with words."""

    def __reduce__(self) -> Any:
        raise TypeError('this one stays at home')


class Later:
    """Wants to end whoever unpickles it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __reduce__(self) -> Any:
        return eval, (f"exec('raise {self.kind}(9)')",)
