#!/usr/bin/env bash
# Brings uPlot, which draws the charts of the live page, to another version:
#
#     tools/renew-uplot.sh 1.6.32
#
# Needs npm, which checks what it downloads against the registry's hash. What is committed is what the package holds,
# unchanged: the page needs no build step. Afterwards: the version in docs/dependencies.md, and the tests in tests/browser.
set -euo pipefail

version=${1:?usage: tools/renew-uplot.sh VERSION}
vendor=$(cd "$(dirname "$0")/../src/eisenmp/web/static/vendor" && pwd)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
npm pack --silent "uplot@$version" >/dev/null
tar -xzf "uplot-$version.tgz"
cp package/dist/uPlot.iife.min.js package/dist/uPlot.min.css "$vendor/"
cp package/LICENSE "$vendor/uPlot.LICENSE"
echo "uPlot $version is in $vendor"
