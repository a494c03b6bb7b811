#!/usr/bin/env bash
# Makes sure that this machine can do what the set-up needs.
#
#     tools/system-packages.sh PYTHON ABILITY…
#
# An ability (python, venv, compiler, headers, browser) is tried, not looked up, so any Python and any system will do.
# Only for what is missing, the packages of debian-packages.txt are installed, by apt-get, as root or through sudo. Where
# that cannot be done, a message names them. Without python and venv nothing goes on; the compiler and the headers serve
# one test only (a worker compiled by Cython) and the browser the tests of the live page, so outside CI their absence is
# a warning.
set -euo pipefail

python=${1:?usage: tools/system-packages.sh PYTHON ABILITY…}
shift
list=$(dirname "$0")/../debian-packages.txt

can() {
    case $1 in
    python) "$python" -c '' ;;
    venv) "$python" -c 'import ensurepip, venv' ;;
    compiler) printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' | "${CC:-cc}" -x c -o "$scratch/a.out" - ;;
    headers) "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ;;
    browser) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
    *) false ;;
    esac >/dev/null 2>&1
}

missing_of() {
    local ability
    for ability; do
        can "$ability" || printf '%s ' "$ability"
    done
}

# Debian's packages give Debian's Python its parts; they are no help to another one, or to a name that is mistyped.
is_debians() {
    local path
    path=$(command -v "$python") || path=$python
    case $path in
    python3 | /usr/bin/python3*) true ;;
    *) false ;;
    esac
}

packages_for() {
    local ability
    for ability; do
        [ "$ability" = compiler ] || [ "$ability" = browser ] || is_debians || continue
        awk -v ability="$ability" '$1 == ability { printf "%s ", $2 }' "$list"
    done
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

missing=$(missing_of "$@")
[ -n "$missing" ] || exit 0
# shellcheck disable=SC2086  # a list of words
packages=$(packages_for $missing)

as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
if [ -n "$packages" ] && command -v apt-get >/dev/null && { [ -z "$as_root" ] || sudo -n true 2>/dev/null; }; then
    echo "Installing Debian packages: $packages"
    # shellcheck disable=SC2086
    {
        $as_root apt-get update -qq &&
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $packages
    } >"$scratch/log" 2>&1 || cat "$scratch/log" >&2
    missing=$(missing_of "$@")
    [ -n "$missing" ] || exit 0
fi

echo "What $python and the tests need is missing on this machine: $missing" >&2
if [ -n "$packages" ]; then
    echo "On Debian and its kin, this brings it:  apt-get install $packages" >&2
else
    echo "It did not come from Debian's packages, so they cannot bring it. Is it the right PYTHON?" >&2
fi
case " $missing" in
*" python "* | *" venv "*) exit 1 ;;
esac
[ -z "${CI:-}" ] || exit 1
echo "Going on: only some tests need it (a compiled worker; the live page in a browser), and they are left out." >&2
