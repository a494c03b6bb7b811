"""A job is about to start on a job file: open it, and see whether it is this job's."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from eisenmp.errors import JobFileMismatch
from eisenmp.exchange import Exchange
from eisenmp.functions import Function
from eisenmp.jobfile.archive import Archive
from eisenmp.jobfile.fingerprint import Prints, fingerprint
from eisenmp.jobfile.forms import check_form
from eisenmp.jobfile.journal import Journal
from eisenmp.results import Results
from eisenmp.settings import ModuleSpec, Settings

__all__ = ["WORDS", "file_system", "open_archive"]

WORDS: Final = "EISENMP_JOB"  # environment: words and a path, "force,trust:/the/job.db"

_FAR: Final = ("nfs", "cifs", "smb", "smb3", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs", "lustre")


def open_archive(  # all that a job is made of
    settings: Settings,
    modules: Sequence[ModuleSpec],
    custom: Mapping[str, Any],
    function: Function | None,
    exchange: Exchange,
    results: Results,
) -> Archive:
    """The job file that the settings name. Nothing is written by the job's parts yet.

    Raises:
        JobFileError: it cannot be used, or is that of another job.
    """
    assert settings.JOB is not None
    path = os.fspath(settings.JOB)
    settings = _with_words(settings, path)
    check_form(settings.JOB_STORE or "")
    journal = Journal.opened(path, settings.JOB_STORE or "pickle", force=settings.JOB_FORCE)
    try:
        check_form(journal.store)
        _warn_of_networks(journal.path)
        _compare(journal, settings, fingerprint(settings, modules, custom, function))
    except BaseException:
        journal.close()
        raise
    return Archive(journal, exchange, results, trust=settings.JOB_TRUST, force=settings.JOB_FORCE)


def _with_words(settings: Settings, path: str) -> Settings:
    """``eisenmp resume --force --trust`` says it to a program that does not know of it."""
    words, _, file = os.environ.get(WORDS, "").partition(":")
    if file != os.path.realpath(path):
        return settings
    said = words.split(",")
    return settings._replace(
        JOB_FORCE=settings.JOB_FORCE or "force" in said, JOB_TRUST=settings.JOB_TRUST or "trust" in said
    )


def _compare(journal: Journal, settings: Settings, now: Prints) -> None:
    """See whether the file was made by this job; a new one remembers it."""
    if settings.JOB_STORE is not None and settings.JOB_STORE != journal.store:
        raise JobFileMismatch(
            f"the job file {journal.path} keeps values as {journal.store!r}, not as JOB_STORE={settings.JOB_STORE!r}; "
            "that is decided when it is made"
        )
    before = {name: (text, made) for name, text, made in journal.query("SELECT name, value, digest FROM setting")}
    # with none at all, it was made just now, or its program was killed in this very moment
    differences = _differences(before, now) if before else []
    if differences and not settings.JOB_FORCE:
        raise JobFileMismatch(
            f"the job file {journal.path} belongs to another job: {'; '.join(differences)}. Start the program as it "
            "was, or give another file; JOB_FORCE (--force) goes on all the same"
        )
    for text in differences:
        journal.forced(text)
    if before != now:
        journal.keep_settings([(name, text, made) for name, (text, made) in now.items()])


def _differences(before: Mapping[str, tuple[str, bytes]], now: Prints) -> list[str]:
    """In words. How a thing looks does not count: the place of a worker file may be another one."""
    told = []
    for name in sorted(before.keys() | now.keys()):
        if name not in now:
            told.append(f"{name} was {before[name][0]}, and is not there now")
        elif name not in before:
            told.append(f"{name} is {now[name][0]}, and was not there")
        elif before[name][1] != now[name][1]:
            was, is_now = before[name][0], now[name][0]
            told.append(f"{name} was {was}, is {is_now}" if was != is_now else f"{name} ({was}) has changed its source")
    return told


def _warn_of_networks(path: str) -> None:
    """SQLite's log needs memory that all who use the file share: not to be had over a network."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            kind = file_system(file.read(), os.path.realpath(path))
    except OSError:
        return
    if kind in _FAR or kind.startswith("nfs"):
        warnings.warn(
            f"the job file {path} lies on a network file system ({kind}), where SQLite cannot keep it safe: give a "
            "place on a local disk",
            RuntimeWarning,
            stacklevel=_outside(),
        )


def _outside() -> int:
    """How far up the first frame is that is not ours."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("eisenmp"):
        level, frame = level + 1, frame.f_back
    return level


def file_system(mounts: str, path: str) -> str:
    """The type of the file system that holds a path, from the text of Linux' ``mountinfo``; '' if it does not say."""
    best, kind = "", ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        place = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")  # a space is \040
        if len(place) >= len(best) and (path == place or path.startswith(place.rstrip("/") + "/")):
            best, kind = place, right.split()[0]
    return kind
