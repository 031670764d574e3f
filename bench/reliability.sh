#!/usr/bin/env bash
# What a training survives, measured: SIGKILLs at random moments, a kill inside every write, every fsync and every rename, the
# same calls failing, a full disk. Each time the newest whole state must load and the end must be byte for byte that of a
# training left in peace.
#
#   bench/reliability.sh [KILLS]      100 kills by default; some twenty minutes
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
build=$(realpath -m -- "${RELUME_BUILD_DIR:-build}")
[[ -x $build/tests/resume_test ]] || { echo "build the tests first: ./relume test -R resume" >&2; exit 2; }
export RELUME_COMMAND=$build/relume RELUME_SOURCE_DIR=$PWD RELUME_KILLS=${1:-100} RELUME_FAULT_STEP=1
exec "$build/tests/resume_test" --gtest_brief=0
